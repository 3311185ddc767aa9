package headertest

import (
	"slices"
	"strings"
)

// Valid are headers that are valid, by name.
var Valid = map[string][]byte{
	"v1 TCP4":                      []byte(LineTCP4),
	"v1 TCP6":                      []byte(LineTCP6),
	"v1 UNKNOWN":                   []byte(LineUnknown),
	"v1 UNKNOWN and more":          []byte("PROXY UNKNOWN ffff::1 ffff::2 1 2 whatever\r\n"),
	"v1 longest":                   []byte(longestLine),
	"v2 TCP4":                      V2(CommandProxy, FamilyTCP4, Addresses4),
	"v2 TCP6":                      V2(CommandProxy, FamilyTCP6, Addresses6),
	"v1 TCP6 of IPv4":              []byte("PROXY TCP6 ::ffff:203.0.113.7 ::ffff:198.51.100.1 40000 443\r\n"),
	"v2 TCP6 of IPv4":              V2(CommandProxy, FamilyTCP6, AddressBlock(Mapped(Source4), Mapped(Destination4))),
	"v2 UDP4":                      V2(CommandProxy, FamilyUDP4, Addresses4),
	"v2 Unix":                      V2(CommandProxy, FamilyUnix, PathsUnix),
	"v2 Unix datagrams":            V2(CommandProxy, FamilyUnixgr, PathsUnix),
	"v2 LOCAL":                     V2(CommandLocal, FamilyUnspec),
	"v2 LOCAL with addresses":      V2(CommandLocal, FamilyTCP4, Addresses4),
	"v2 LOCAL with junk":           V2(CommandLocal, FamilyTCP4, []byte("junk")),
	"v1 TCP6 to IPv4":              []byte("PROXY TCP6 2001:db8::7 198.51.100.1 40001 443\r\n"),
	"v1 TCP4 to IPv6":              []byte("PROXY TCP4 203.0.113.7 2001:db8::1 40000 8443\r\n"),
	"v1 TCP4 to Unix":              []byte("PROXY TCP4 203.0.113.7 unix:/run/nginx 40000 0\r\n"),
	"v1 TCP6 to Unix":              []byte("PROXY TCP6 2001:db8::7 unix:/run/nginx 40001 0\r\n"),
	"v2 LOCAL family 4":            V2(CommandLocal, 0x41),
	"v2 LOCAL family 15 with junk": V2(CommandLocal, 0xff, []byte("\x03\x00\x04junk")),
	"v2 LOCAL transport 3":         V2(CommandLocal, 0x13, Addresses4, Field(TypeALPN, []byte("h2"))),
	"v2 LOCAL UNSPEC with junk":    V2(CommandLocal, FamilyUnspec, []byte("junk that is no field at all")),
	"v2 LOCAL, addresses and junk": V2(CommandLocal, FamilyTCP4, Addresses4, []byte("junk that is no field")),
	"v2 UNSPEC":                    V2(CommandProxy, FamilyUnspec),
	"v2 UNSPEC with fields":        V2(CommandProxy, FamilyUnspec, Field(TypeUniqueID, []byte("id"))),
	"v2 UNSPEC with junk":          V2(CommandProxy, FamilyUnspec, []byte("an address of a family to come")),
	"v2 fields":                    V2(CommandProxy, FamilyTCP4, Addresses4, Field(TypeALPN, []byte("h2")), Field(TypeCustom, nil)),
	"v2 padding":                   V2(CommandProxy, FamilyTCP6, Addresses6, Field(TypePadding, make([]byte, 50))),
	"v2 checksum":                  Summed(CommandProxy, FamilyTCP4, Addresses4, Field(TypeAuthority, []byte("example.com"))),
	"v2 checksum, IPv6":            Summed(CommandProxy, FamilyTCP6, Addresses6),
	"v2 checksum, Unix":            Summed(CommandProxy, FamilyUnix, PathsUnix),
	"v2 checksum, LOCAL":           Summed(CommandLocal, FamilyUnspec),
	"v2 longest":                   V2(CommandProxy, FamilyTCP4, Addresses4, Field(TypeCustom, make([]byte, 4096-12-3))),
}

const longestLine = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"

// Bad are refused, by name. None of them is merely incomplete.
var Bad = map[string][]byte{
	"nothing of the kind":       []byte("GET / HTTP/1.1\r\n\r\n"),
	"TLS":                       []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and more of a ClientHello"),
	"one wrong byte":            []byte("X"),
	"lower case":                []byte("proxy TCP4 203.0.113.7 198.51.100.1 1 2\r\n"),
	"v1 two spaces":             []byte("PROXY  TCP4 203.0.113.7 198.51.100.1 1 2\r\n"),
	"v1 tab":                    []byte("PROXY\tTCP4 203.0.113.7 198.51.100.1 1 2\r\n"),
	"v1 no protocol":            []byte("PROXY \r\n"),
	"v1 only the word":          []byte("PROXY\r\n"),
	"v1 unknown protocol":       []byte("PROXY SCTP 203.0.113.7 198.51.100.1 1 2\r\n"),
	"v1 TCP5":                   []byte("PROXY TCP5 203.0.113.7 198.51.100.1 1 2\r\n"),
	"v1 LF only":                []byte("PROXY TCP4 203.0.113.7 198.51.100.1 1 2\n"),
	"v1 too few":                []byte("PROXY TCP4 203.0.113.7 198.51.100.1 1\r\n"),
	"v1 too many":               []byte("PROXY TCP4 203.0.113.7 198.51.100.1 1 2 3\r\n"),
	"v1 trailing space":         []byte("PROXY TCP4 203.0.113.7 198.51.100.1 1 2 \r\n"),
	"v1 port too large":         []byte("PROXY TCP4 203.0.113.7 198.51.100.1 65536 2\r\n"),
	"v1 port negative":          []byte("PROXY TCP4 203.0.113.7 198.51.100.1 1 -2\r\n"),
	"v1 port with zero":         []byte("PROXY TCP4 203.0.113.7 198.51.100.1 01 2\r\n"),
	"v1 port empty":             []byte("PROXY TCP4 203.0.113.7 198.51.100.1  2\r\n"),
	"v1 port hexadecimal":       []byte("PROXY TCP4 203.0.113.7 198.51.100.1 0x1 2\r\n"),
	"v1 octet too large":        []byte("PROXY TCP4 203.0.113.256 198.51.100.1 1 2\r\n"),
	"v1 octet with zero":        []byte("PROXY TCP4 203.0.113.07 198.51.100.1 1 2\r\n"),
	"v1 host name":              []byte("PROXY TCP4 localhost 198.51.100.1 1 2\r\n"),
	"v1 IPv6 in TCP4":           []byte("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n"),
	"v1 IPv4 in TCP6":           []byte("PROXY TCP6 203.0.113.7 198.51.100.1 1 2\r\n"),
	"v1 IPv6 to IPv4 in TCP4":   []byte("PROXY TCP4 2001:db8::1 203.0.113.7 1 2\r\n"),
	"v1 IPv4 to IPv6 in TCP6":   []byte("PROXY TCP6 203.0.113.7 2001:db8::1 1 2\r\n"),
	"v1 path as source":         []byte("PROXY TCP4 unix:/run/x 203.0.113.7 1 0\r\n"),
	"v1 path in TCP6 of IPv4":   []byte("PROXY TCP6 203.0.113.7 unix:/run/x 1 0\r\n"),
	"v1 half an address":        []byte("PROXY TCP4 203.0.113.7 198.51.100 1 2\r\n"),
	"v1 zone":                   []byte("PROXY TCP6 fe80::1%eth0 fe80::2%eth0 1 2\r\n"),
	"v1 NUL":                    []byte("PROXY TCP4 203.0.113.7\x00 198.51.100.1 1 2\r\n"),
	"v1 a byte too long":        []byte(longestLine[:len(longestLine)-2] + "0\r\n"),
	"v1 without end":            []byte("PROXY TCP4 " + strings.Repeat("1", 10_000)),
	"v1 UNKNOWN without end":    []byte("PROXY UNKNOWN " + strings.Repeat("x", 10_000)),
	"v2 signature differs":      []byte("\r\n\r\n\x00\r\nQUIX\n\x21\x11\x00\x0c"),
	"v2 version 1":              V2(0x11, FamilyTCP4, Addresses4),
	"v2 version 3":              V2(0x31, FamilyTCP4, Addresses4),
	"v2 command 2":              V2(0x22, FamilyTCP4, Addresses4),
	"v2 command 15":             V2(0x2f, FamilyTCP4, Addresses4),
	"v2 family 4":               V2(CommandProxy, 0x41, Addresses4),
	"v2 transport 3":            V2(CommandProxy, 0x13, Addresses4),
	"v2 transport 0":            V2(CommandProxy, 0x10, Addresses4),
	"v2 addresses too short":    V2(CommandProxy, FamilyTCP4, Addresses4[:11]),
	"v2 no addresses":           V2(CommandProxy, FamilyTCP6),
	"v2 IPv6 with IPv4 length":  V2(CommandProxy, FamilyTCP6, Addresses4),
	"v2 Unix too short":         V2(CommandProxy, FamilyUnix, PathsUnix[:215]),
	"v2 too long":               V2(CommandProxy, FamilyTCP4, make([]byte, 4097)),
	"v2 much too long":          V2(CommandProxy, FamilyTCP4, make([]byte, 65535)),
	"v2 LOCAL too long":         V2(CommandLocal, FamilyUnspec, make([]byte, 4097)),
	"v2 field cut":              V2(CommandProxy, FamilyTCP4, Addresses4, []byte{TypeALPN, 0}),
	"v2 field longer than rest": V2(CommandProxy, FamilyTCP4, Addresses4, []byte{TypeALPN, 0, 9, 'h', '2'}),
	"v2 second field cut":       V2(CommandProxy, FamilyTCP4, Addresses4, Field(TypeALPN, []byte("h2")), []byte{1}),
	"v2 checksum wrong":         flipped(Summed(CommandProxy, FamilyTCP4, Addresses4), -1),
	"v2 checksum of others":     flipped(Summed(CommandProxy, FamilyTCP4, Addresses4), 17),
	"v2 checksum LOCAL wrong":   flipped(Summed(CommandLocal, FamilyTCP4, Addresses4), -1),
	"v2 checksum of 3 bytes":    V2(CommandProxy, FamilyTCP4, Addresses4, Field(TypeChecksum, make([]byte, 3))),
	"v2 checksum of 5 bytes":    V2(CommandProxy, FamilyTCP4, Addresses4, Field(TypeChecksum, make([]byte, 5))),
	"v2 checksum empty":         V2(CommandProxy, FamilyTCP4, Addresses4, Field(TypeChecksum, nil)),
}

// flipped changes one byte; a negative index counts from the end.
func flipped(header []byte, i int) []byte {
	header = slices.Clone(header)
	if i < 0 {
		i += len(header)
	}
	header[i] ^= 0x40
	return header
}
