package pgwire

import (
	"encoding/json"
	"fmt"
)

// scannerRecord is a KeyScanner on its way to another process.
type scannerRecord struct {
	Head   []byte `json:"head,omitempty"`
	Left   int    `json:"left,omitempty"`
	Key    []byte `json:"key,omitempty"`
	Inside bool   `json:"inside,omitempty"`
	Done   bool   `json:"done,omitempty"`
	Ready  bool   `json:"ready,omitempty"`
}

// MarshalJSON returns all that the scanner knows, so that another process goes on in the middle
// of a message.
func (k *KeyScanner) MarshalJSON() ([]byte, error) {
	r := scannerRecord{k.head[:k.got], k.left, k.Key, k.inside, k.Done, k.Ready}
	if k.Done {
		r.Left = 0 // it may be the length of what is no message
	}
	return json.Marshal(r)
}

// UnmarshalJSON makes k what MarshalJSON has been given.
func (k *KeyScanner) UnmarshalJSON(data []byte) error {
	var r scannerRecord
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	if len(r.Head) >= messageHead || r.Left < 0 || r.Left > maxLoginMessage || len(r.Key)+r.Left > maxKey && r.Inside {
		return fmt.Errorf("read the state of a login: %d bytes of a head, %d left, a key of %d: none can be so",
			len(r.Head), r.Left, len(r.Key))
	}
	*k = KeyScanner{got: len(r.Head), left: r.Left, Key: r.Key, inside: r.Inside, Done: r.Done, Ready: r.Ready}
	copy(k.head[:], r.Head)
	return nil
}
