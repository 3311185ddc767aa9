package pgwire

import "encoding/binary"

// Bounds of what a server sends while a client logs in.
const (
	maxKey          = maxCancel - packetHead
	maxLoginMessage = 1 << 20
)

// A KeyScanner finds the BackendKeyData in what a server sends while a client
// logs in. It is given the bytes as they come, split anywhere.
type KeyScanner struct {
	head   [messageHead]byte
	got    int    // bytes of head that have come
	left   int    // bytes of the present message's body that have not
	Key    []byte // process id and secret, which is what a CancelRequest carries; complete when done is set
	inside bool   // the present message is the key
	Done   bool   // nothing more is to be found
}

// Scan reads the next bytes.
func (k *KeyScanner) Scan(data []byte) {
	for len(data) > 0 && !k.Done {
		if k.left == 0 {
			n := copy(k.head[k.got:], data)
			k.got, data = k.got+n, data[n:]
			if k.got == messageHead {
				k.begin()
			}
			continue
		}
		n := min(k.left, len(data))
		if k.inside {
			k.Key = append(k.Key, data[:n]...)
		}
		k.left, data = k.left-n, data[n:]
		k.Done = k.inside && k.left == 0
	}
}

// begin takes a message's type and length.
func (k *KeyScanner) begin() {
	length := int(binary.BigEndian.Uint32(k.head[1:])) - 4
	k.got, k.left = 0, length
	k.inside = k.head[0] == messageKey && length > 4 && length <= maxKey
	// After an error or the end of the login no key comes; a length that
	// cannot be says that this is not the protocol.
	if length < 0 || length > maxLoginMessage || k.head[0] == messageReady || k.head[0] == MessageError {
		k.Done = true
	}
}
