package l4

import (
	"encoding/binary"
	"hash/crc32"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/pires/go-proxyproto"
)

// The headers of the tests, built byte by byte from the specification, so that
// the library is not its own judge.

const (
	signature = "\r\n\r\n\x00\r\nQUIT\n"

	commandLocal = 0x20
	commandProxy = 0x21

	familyUnspec = 0x00
	familyTCP4   = 0x11
	familyUDP4   = 0x12
	familyTCP6   = 0x21
	familyUnix   = 0x31
	familyUnixgr = 0x32

	typeALPN      = 0x01
	typeAuthority = 0x02
	typeChecksum  = 0x03
	typePadding   = 0x04
	typeUniqueID  = 0x05
	typeCustom    = 0xEA
)

// Source and destination 203.0.113.7:40000, 198.51.100.1:443, and their like.
var (
	source4      = netip.MustParseAddrPort("203.0.113.7:40000")
	destination4 = netip.MustParseAddrPort("198.51.100.1:443")
	source6      = netip.MustParseAddrPort("[2001:db8::7]:40001")
	destination6 = netip.MustParseAddrPort("[2001:db8::1]:8443")

	addresses4 = addressBlock(source4, destination4)
	addresses6 = addressBlock(source6, destination6)
	pathsUnix  = slices.Concat(unixPath("/run/client"), unixPath("/run/server"))
)

const (
	lineTCP4    = "PROXY TCP4 203.0.113.7 198.51.100.1 40000 443\r\n"
	lineTCP6    = "PROXY TCP6 2001:db8::7 2001:db8::1 40001 8443\r\n"
	lineUnknown = "PROXY UNKNOWN\r\n"
)

func addressBlock(source, destination netip.AddrPort) []byte {
	block := slices.Concat(source.Addr().AsSlice(), destination.Addr().AsSlice())
	block = binary.BigEndian.AppendUint16(block, source.Port())
	return binary.BigEndian.AppendUint16(block, destination.Port())
}

// mapped is an IPv4 address as an IPv6 socket shows it.
func mapped(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(ap.Addr().As16()), ap.Port())
}

func unixPath(path string) []byte { return append([]byte(path), make([]byte, 108-len(path))...) }

// v2 is a version 2 header with the length that its parts have.
func v2(command, family byte, parts ...[]byte) []byte {
	payload := slices.Concat(parts...)
	header := append([]byte(signature), command, family)
	header = binary.BigEndian.AppendUint16(header, uint16(len(payload)))
	return append(header, payload...)
}

func field(kind byte, value []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(value))), value...)
}

// summed is a header with its CRC32C as the last field.
func summed(command, family byte, parts ...[]byte) []byte {
	header := v2(command, family, append(parts, field(typeChecksum, make([]byte, 4)))...)
	sum := crc32.Checksum(header, crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(header[len(header)-4:], sum)
	return header
}

// ready-made headers that are valid, by name.
var validHeaders = map[string][]byte{
	"v1 TCP4":                      []byte(lineTCP4),
	"v1 TCP6":                      []byte(lineTCP6),
	"v1 UNKNOWN":                   []byte(lineUnknown),
	"v1 UNKNOWN and more":          []byte("PROXY UNKNOWN ffff::1 ffff::2 1 2 whatever\r\n"),
	"v1 longest":                   []byte(longestLine),
	"v2 TCP4":                      v2(commandProxy, familyTCP4, addresses4),
	"v2 TCP6":                      v2(commandProxy, familyTCP6, addresses6),
	"v1 TCP6 of IPv4":              []byte("PROXY TCP6 ::ffff:203.0.113.7 ::ffff:198.51.100.1 40000 443\r\n"),
	"v2 TCP6 of IPv4":              v2(commandProxy, familyTCP6, addressBlock(mapped(source4), mapped(destination4))),
	"v2 UDP4":                      v2(commandProxy, familyUDP4, addresses4),
	"v2 Unix":                      v2(commandProxy, familyUnix, pathsUnix),
	"v2 Unix datagrams":            v2(commandProxy, familyUnixgr, pathsUnix),
	"v2 LOCAL":                     v2(commandLocal, familyUnspec),
	"v2 LOCAL with addresses":      v2(commandLocal, familyTCP4, addresses4),
	"v2 LOCAL with junk":           v2(commandLocal, familyTCP4, []byte("junk")),
	"v1 TCP6 to IPv4":              []byte("PROXY TCP6 2001:db8::7 198.51.100.1 40001 443\r\n"),
	"v1 TCP4 to IPv6":              []byte("PROXY TCP4 203.0.113.7 2001:db8::1 40000 8443\r\n"),
	"v1 TCP4 to Unix":              []byte("PROXY TCP4 203.0.113.7 unix:/run/nginx 40000 0\r\n"),
	"v1 TCP6 to Unix":              []byte("PROXY TCP6 2001:db8::7 unix:/run/nginx 40001 0\r\n"),
	"v2 LOCAL family 4":            v2(commandLocal, 0x41),
	"v2 LOCAL family 15 with junk": v2(commandLocal, 0xff, []byte("\x03\x00\x04junk")),
	"v2 LOCAL transport 3":         v2(commandLocal, 0x13, addresses4, field(typeALPN, []byte("h2"))),
	"v2 LOCAL UNSPEC with junk":    v2(commandLocal, familyUnspec, []byte("junk that is no field at all")),
	"v2 LOCAL, addresses and junk": v2(commandLocal, familyTCP4, addresses4, []byte("junk that is no field")),
	"v2 UNSPEC":                    v2(commandProxy, familyUnspec),
	"v2 UNSPEC with fields":        v2(commandProxy, familyUnspec, field(typeUniqueID, []byte("id"))),
	"v2 UNSPEC with junk":          v2(commandProxy, familyUnspec, []byte("an address of a family to come")),
	"v2 fields":                    v2(commandProxy, familyTCP4, addresses4, field(typeALPN, []byte("h2")), field(typeCustom, nil)),
	"v2 padding":                   v2(commandProxy, familyTCP6, addresses6, field(typePadding, make([]byte, 50))),
	"v2 checksum":                  summed(commandProxy, familyTCP4, addresses4, field(typeAuthority, []byte("example.com"))),
	"v2 checksum, IPv6":            summed(commandProxy, familyTCP6, addresses6),
	"v2 checksum, Unix":            summed(commandProxy, familyUnix, pathsUnix),
	"v2 checksum, LOCAL":           summed(commandLocal, familyUnspec),
	"v2 longest":                   v2(commandProxy, familyTCP4, addresses4, field(typeCustom, make([]byte, 4096-12-3))),
}

const longestLine = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"

// invalidHeaders are refused, by name. None of them is merely incomplete.
var invalidHeaders = map[string][]byte{
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
	"v2 version 1":              v2(0x11, familyTCP4, addresses4),
	"v2 version 3":              v2(0x31, familyTCP4, addresses4),
	"v2 command 2":              v2(0x22, familyTCP4, addresses4),
	"v2 command 15":             v2(0x2f, familyTCP4, addresses4),
	"v2 family 4":               v2(commandProxy, 0x41, addresses4),
	"v2 transport 3":            v2(commandProxy, 0x13, addresses4),
	"v2 transport 0":            v2(commandProxy, 0x10, addresses4),
	"v2 addresses too short":    v2(commandProxy, familyTCP4, addresses4[:11]),
	"v2 no addresses":           v2(commandProxy, familyTCP6),
	"v2 IPv6 with IPv4 length":  v2(commandProxy, familyTCP6, addresses4),
	"v2 Unix too short":         v2(commandProxy, familyUnix, pathsUnix[:215]),
	"v2 too long":               v2(commandProxy, familyTCP4, make([]byte, 4097)),
	"v2 much too long":          v2(commandProxy, familyTCP4, make([]byte, 65535)),
	"v2 LOCAL too long":         v2(commandLocal, familyUnspec, make([]byte, 4097)),
	"v2 field cut":              v2(commandProxy, familyTCP4, addresses4, []byte{typeALPN, 0}),
	"v2 field longer than rest": v2(commandProxy, familyTCP4, addresses4, []byte{typeALPN, 0, 9, 'h', '2'}),
	"v2 second field cut":       v2(commandProxy, familyTCP4, addresses4, field(typeALPN, []byte("h2")), []byte{1}),
	"v2 checksum wrong":         flipped(summed(commandProxy, familyTCP4, addresses4), -1),
	"v2 checksum of others":     flipped(summed(commandProxy, familyTCP4, addresses4), 17),
	"v2 checksum LOCAL wrong":   flipped(summed(commandLocal, familyTCP4, addresses4), -1),
	"v2 checksum of 3 bytes":    v2(commandProxy, familyTCP4, addresses4, field(typeChecksum, make([]byte, 3))),
	"v2 checksum of 5 bytes":    v2(commandProxy, familyTCP4, addresses4, field(typeChecksum, make([]byte, 5))),
	"v2 checksum empty":         v2(commandProxy, familyTCP4, addresses4, field(typeChecksum, nil)),
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

// addressesOf returns the two TCP ends that a header names.
func addressesOf(header *proxyproto.Header) (source, destination netip.AddrPort, ok bool) {
	s, d, ok := header.TCPAddrs()
	if !ok {
		return source, destination, false
	}
	return unmapped(s), unmapped(d), true
}

func unmapped(a *net.TCPAddr) netip.AddrPort {
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
