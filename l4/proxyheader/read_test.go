package proxyheader

import (
	"bytes"
	"slices"
	"testing"

	"github.com/pires/go-proxyproto"

	"sluice/l4/proxyheader/headertest"
)

func TestParseHeaderSize(t *testing.T) {
	for name, header := range headertest.Valid {
		long := append(slices.Clone(header), bytes.Repeat([]byte("\r\n"), 5000)...)
		for i := range header {
			if _, _, err := Parse(long[:i]); err != ErrShort {
				t.Errorf("%s: %d of %d bytes: %v, want ErrShort", name, i, len(header), err)
			}
		}
		if _, size, err := Parse(long); err != nil || size != len(header) {
			t.Errorf("%s: size %d, %v; want %d", name, size, err, len(header))
		}
	}
}

// Checksum and padding are this hop's own; they are taken out, the rest stays.
func TestParseHeaderFields(t *testing.T) {
	alpn, custom := headertest.Field(headertest.TypeALPN, []byte("h2")), headertest.Field(headertest.TypeCustom, []byte("x"))
	padding := headertest.Field(headertest.TypePadding, []byte("...."))
	f := func(name string, header []byte, want ...byte) {
		t.Helper()
		parsed, _, err := Parse(header)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		var got []byte
		for _, tlv := range must(parsed.TLVs()) {
			got = append(got, byte(tlv.Type))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: fields %x, want %x", name, got, want)
		}
	}
	tcp4 := func(header func(command, family byte, parts ...[]byte) []byte, fields ...[]byte) []byte {
		return header(headertest.CommandProxy, headertest.FamilyTCP4, append([][]byte{headertest.Addresses4}, fields...)...)
	}
	f("plain", tcp4(headertest.V2, alpn, custom), headertest.TypeALPN, headertest.TypeCustom)
	f("padding", tcp4(headertest.V2, padding, alpn, padding, custom), headertest.TypeALPN, headertest.TypeCustom)
	f("checksum last", tcp4(headertest.Summed, alpn, padding, custom), headertest.TypeALPN, headertest.TypeCustom)
	f("checksum alone", headertest.Summed(headertest.CommandProxy, headertest.FamilyTCP6, headertest.Addresses6))
	f("two of a kind", tcp4(headertest.V2, alpn, alpn), headertest.TypeALPN, headertest.TypeALPN)
}

// The library's own writer agrees with the bytes of these tests.
func TestHeadersAgreeWithLibrary(t *testing.T) {
	f := func(want []byte, version byte, header *proxyproto.Header) {
		t.Helper()
		header.Version = version
		if got := must(header.Format()); !bytes.Equal(got, want) {
			t.Errorf("the library writes %q, want %q", got, want)
		}
	}
	header, _, _ := Parse([]byte(headertest.LineTCP4))
	f(headertest.Valid["v2 TCP4"], 2, header)
	header, _, _ = Parse(headertest.Valid["v2 TCP6"])
	f([]byte(headertest.LineTCP6), 1, header)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
