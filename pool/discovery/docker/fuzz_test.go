package docker

import (
	"bytes"
	"testing"
	"time"
)

// FuzzContainers: whatever is sent in place of a list of containers and of an event, what is made of it are addresses that
// can be connected to, and nothing panics.
func FuzzContainers(f *testing.F) {
	f.Add([]byte("["+sample("web", "10.1.0.2")+"]"), []byte(`{"Type":"container","Action":"kill","Actor":{"ID":"web","Attributes":{"signal":"15"}},"timeNano":5}`))
	f.Add([]byte("["+sample("web", "", `"default"`, `"container:web"`)+"]"), []byte(`{"Type":"network","Action":"connect"}`))
	f.Fuzz(func(t *testing.T, list, stream []byte) {
		m, c := make(marks), DefaultConfig("app")
		now := time.Now()
		_ = readEvents(bytes.NewReader(stream), func(e event) { // a stream always ends with an error
			m.note(&e, now)
			if e.signal() == 15 {
				m.stops(e.container(), e.at(), now)
			}
		})
		all, err := parseContainers(list)
		if err != nil {
			return
		}
		m.judge(all)
		found, _ := c.Found(all)
		for _, b := range found {
			if ip := b.Address.TCP.Addr(); !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || b.Address.TCP.Port() == 0 || b.Name == "" {
				t.Errorf("backend %q has the address %v", b.Name, b.Address)
			}
		}
	})
}
