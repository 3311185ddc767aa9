package l4

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/pires/go-proxyproto"

	"sluice/l4/proxyheader"
	"sluice/l4/tlshello/hellotest"
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
		r.write(c, slices.Concat(received, hellotest.OfSize(t, 600)))
		s := r.accept()
		r.until("all was sent", func() bool { return r.newest().state == stateAnswering })
		data := make([]byte, 8192)
		n := must(s.Read(data))
		if _, _, err := proxyheader.Parse(data[:n]); err != nil {
			t.Errorf("a header with %d bytes of fields, passed on: %v", filler, err)
		}
	}
	f(0)
	f(3900)
	f(4096 - 12 - 3)
}

// What is passed on of an earlier hop leaves the header one that the next hop takes.
func TestLongUniqueIDPassedOn(t *testing.T) {
	r := newRig(t, rigConfig{send: ProxyV2, accept: accepting(), listener: func(l *ListenerConfig) {
		l.Target.TLVs = []TLV{TLVUniqueID, TLVCRC32C}
	}})
	header := proxyproto.HeaderProxyFromAddrs(2, &net.TCPAddr{IP: net.IPv4(1, 2, 3, 4), Port: 5},
		&net.TCPAddr{IP: net.IPv4(1, 2, 3, 5), Port: 6})
	long := proxyproto.TLV{Type: proxyproto.PP2_TYPE_UNIQUE_ID, Value: random(1, 4096-12-3)}
	if err := header.SetTLVs([]proxyproto.TLV{long}); err != nil {
		t.Fatal(err)
	}
	c := r.dial()
	r.write(c, must(header.Format()))
	s := r.accept()
	fixed := make([]byte, proxyheader.FixedV2)
	r.while("read a header", func() error { _, err := io.ReadFull(s, fixed); return err })
	if n := proxyheader.FixedV2 + int(binary.BigEndian.Uint16(fixed[14:])); n > proxyheader.MaxV2 {
		t.Errorf("the header has %d bytes, the next hop takes %d", n, proxyheader.MaxV2)
	}
}
