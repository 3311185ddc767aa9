package proxyheader

import (
	"strings"
	"testing"

	"sluice/l4/proxyheader/headertest"
)

// What is wrong with a header is said in words that lead to the place.
func TestHeaderFault(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		header := headertest.Bad[name]
		_, _, err := Parse(header)
		if got := Fault(header, err); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	f("nothing of the kind", `byte 1 is 0x47: a header begins with "PROXY " or the signature of version 2`)
	f("v1 tab", `byte 6 is 0x09: a header begins with "PROXY " or the signature of version 2`)
	f("v2 signature differs", "byte 11 is 0x58: the signature of version 2 is another")
	f("v1 LF only", "byte 40 ends the line without a CR before it")
	f("v1 without end", "no line ends up to byte 107: a header of version 1 is at most that long")
	f("v1 unknown protocol", `byte 7: "SCTP" is none of TCP4, TCP6 and UNKNOWN`)
	f("v1 two spaces", `byte 7: "" is none of TCP4, TCP6 and UNKNOWN`)
	f("v1 too few", "byte 38 ends the line after 5 of 6 fields")
	f("v1 too many", `byte 41: "3" is one field too many`)
	f("v1 octet too large", `byte 12: source "203.0.113.256" is no address`)
	f("v1 NUL", `byte 12: source "203.0.113.7\x00" is no address`)
	f("v1 IPv6 in TCP4", `byte 12: source "2001:db8::1" is not of the family TCP4`)
	f("v1 path as source", `byte 12: source "unix:/run/x" is no address`)
	f("v1 half an address", `byte 24: destination "198.51.100" is no address`)
	f("v1 port too large", `byte 37: source port "65536" is no number from 0 to 65535`)
	f("v1 port negative", `byte 39: destination port "-2" is no number from 0 to 65535`)
	f("v2 version 3", "byte 13 is 0x31: version and command are 0x20 (LOCAL) or 0x21 (PROXY)")
	f("v2 family 4", "byte 14 is 0x41: no such family and protocol of addresses")
	f("v2 too long", "bytes 15 and 16 say that 4097 bytes follow: at most 4096 may")
	f("v2 IPv6 with IPv4 length", "bytes 15 and 16 say that 12 bytes follow: the addresses alone have 36")
	f("v2 field cut", "byte 29 begins a TLV of which not even type and length are there")
	f("v2 second field cut", "byte 34 begins a TLV of which not even type and length are there")
	f("v2 field longer than rest", "byte 29 begins a TLV of type 0x01 and 9 bytes: only 2 are left")
	f("v2 checksum wrong", "byte 29 begins a checksum (CRC32C) that is not that of the header")
}

// A place is named for every header that is refused, and the text is bounded and printable whatever was sent.
func TestHeaderFaultNamesAByte(t *testing.T) {
	for name, header := range headertest.Bad {
		_, _, err := Parse(header)
		got := Fault(header, err)
		unprintable := strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' })
		if !strings.Contains(got, "byte") || len(got) > 600 || unprintable {
			t.Errorf("%s: %q, want a byte, in words that can be printed", name, got)
		}
	}
}
