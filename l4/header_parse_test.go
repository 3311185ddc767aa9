package l4

import (
	"bytes"
	"slices"
	"testing"

	"github.com/pires/go-proxyproto"
)

func TestParseHeaderSize(t *testing.T) {
	for name, header := range validHeaders {
		long := append(slices.Clone(header), bytes.Repeat([]byte("\r\n"), 5000)...)
		for i := range header {
			if _, _, err := parseHeader(long[:i]); err != errShort {
				t.Errorf("%s: %d of %d bytes: %v, want errShort", name, i, len(header), err)
			}
		}
		if _, size, err := parseHeader(long); err != nil || size != len(header) {
			t.Errorf("%s: size %d, %v; want %d", name, size, err, len(header))
		}
	}
}

// Checksum and padding are this hop's own; they are taken out, the rest stays.
func TestParseHeaderFields(t *testing.T) {
	alpn, custom := field(typeALPN, []byte("h2")), field(typeCustom, []byte("x"))
	padding := field(typePadding, []byte("...."))
	f := func(name string, header []byte, want ...byte) {
		t.Helper()
		parsed, _, err := parseHeader(header)
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
	f("plain", v2(commandProxy, familyTCP4, addresses4, alpn, custom), typeALPN, typeCustom)
	f("padding", v2(commandProxy, familyTCP4, addresses4, padding, alpn, padding, custom), typeALPN, typeCustom)
	f("checksum last", summed(commandProxy, familyTCP4, addresses4, alpn, padding, custom), typeALPN, typeCustom)
	f("checksum alone", summed(commandProxy, familyTCP6, addresses6))
	f("two of a kind", v2(commandProxy, familyTCP4, addresses4, alpn, alpn), typeALPN, typeALPN)
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
	header, _, _ := parseHeader([]byte(lineTCP4))
	f(validHeaders["v2 TCP4"], 2, header)
	header, _, _ = parseHeader(validHeaders["v2 TCP6"])
	f([]byte(lineTCP6), 1, header)
}
