package proxyheader

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/pires/go-proxyproto"

	"sluice/l4/proxyheader/headertest"
)

// FuzzProxyHeader checks of any input that parsing it does not panic, that the answer does not depend on how the bytes
// arrived, and that what was understood is passed on unchanged.
func FuzzProxyHeader(f *testing.F) {
	for _, header := range headertest.Valid {
		f.Add(header)
		f.Add(append(bytes.Clone(header), "GET / HTTP/1.1\r\n"...))
		f.Add(header[:len(header)/2])
	}
	for _, header := range headertest.Bad {
		f.Add(header[:min(len(header), 5000)])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		whole := bytes.Clone(data)
		header, size, err := Parse(data)
		if !bytes.Equal(data, whole) {
			t.Fatal("the input was changed")
		}
		checkPieces(t, data, size, err)
		if err != nil {
			if len(data) > 0 {
				Fault(data, err)
			}
			if header != nil || size != 0 {
				t.Fatalf("error %v with header %+v and size %d", err, header, size)
			}
			return
		}
		if header == nil || size < len("PROXY \r\n") || size > len(data) || size > MaxV2 {
			t.Fatalf("header %+v, size %d of %d", header, size, len(data))
		}
		Client(header)
		checkPassedOn(t, header, 1)
		checkPassedOn(t, header, 2)
	})
}

// checkPieces parses every beginning of data: an answer other than "call again
// with more" must be the answer for the whole.
func checkPieces(t *testing.T, data []byte, size int, err error) {
	t.Helper()
	for n := range data {
		_, part, partErr := Parse(data[:n])
		switch {
		case partErr == ErrShort && (err != nil || n < size):
		case partErr == nil && err == nil && part == size && n >= size:
		case partErr != nil && partErr != ErrShort && err != nil && err != ErrShort:
		default:
			t.Fatalf("%d of %d bytes: size %d, %v; the whole: %d, %v", n, len(data), part, partErr, size, err)
		}
		if partErr == nil && n > size {
			return // what follows the header makes no difference
		}
	}
}

// checkPassedOn formats what a backend would be sent for a received header, and parses it again.
func checkPassedOn(t *testing.T, received *proxyproto.Header, version byte) {
	t.Helper()
	peer := netip.MustParseAddrPort("192.0.2.1:1000")
	local := netip.MustParseAddrPort("192.0.2.2:2000")
	out, err := Outgoing(version, received, peer, local)
	if err != nil {
		t.Fatalf("pass on %+v as %v: %v", received, version, err)
	}
	raw, err := out.Format()
	if err != nil {
		t.Fatalf("format %+v: %v", out, err)
	}
	if len(raw) > MaxV2+FixedV2+36 {
		t.Fatalf("a header of %d bytes would be sent", len(raw))
	}
	again, size, err := Parse(raw)
	if len(raw) <= MaxV2 && (err != nil || size != len(raw)) {
		t.Fatalf("what would be sent for %+v cannot be parsed: %q: %v", received, raw, err)
	}
	if err != nil {
		return
	}
	source, destination, tcp := headertest.Ends(received)
	if !tcp || received.Command.IsLocal() {
		source, destination = peer, local
	}
	if gotSource, gotDestination, ok := headertest.Ends(again); ok {
		if gotSource != source || gotDestination != destination {
			t.Fatalf("%v and %v became %v and %v", source, destination, gotSource, gotDestination)
		}
	} else if tcp && !received.Command.IsLocal() {
		t.Fatalf("the addresses of %+v are lost: %q", received, raw)
	}
	if version == 2 {
		sameFields(t, received, again)
	}
}

func sameFields(t *testing.T, received, again *proxyproto.Header) {
	t.Helper()
	want, err := received.TLVs()
	if err != nil {
		t.Fatal(err)
	}
	got, err := again.TLVs()
	if err != nil || len(got) != len(want) {
		t.Fatalf("fields %v became %v, %v", want, got, err)
	}
	for i := range want {
		if got[i].Type != want[i].Type || !bytes.Equal(got[i].Value, want[i].Value) {
			t.Fatalf("fields %v became %v", want, got)
		}
	}
}
