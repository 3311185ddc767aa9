package l4

import (
	"slices"
	"testing"
)

// A chain of two: what this one sends, another one takes.
func TestHeaderStaysWithinBounds(t *testing.T) {
	f := func(filler int) {
		t.Helper()
		received := v2(commandProxy, familyTCP4, addresses4, field(typeCustom, make([]byte, filler)))
		r := newRig(t, rigConfig{
			protocol: ProtocolTLS, accept: accepting(), send: ProxyV2,
			listener: func(l *ListenerConfig) { l.Target.TLVs = []TLV{TLVAuthority, TLVALPN, TLVUniqueID, TLVCRC32C} },
		})
		c := r.dial()
		r.write(c, slices.Concat(received, helloOf(t, 600)))
		s := r.accept()
		r.until("all was sent", func() bool { return r.newest().state == stateAnswering })
		data := make([]byte, 8192)
		n := must(s.Read(data))
		if _, _, err := parseHeader(data[:n]); err != nil {
			t.Errorf("a header with %d bytes of fields, passed on: %v", filler, err)
		}
	}
	f(0)
	f(3900)
	f(4096 - 12 - 3)
}
