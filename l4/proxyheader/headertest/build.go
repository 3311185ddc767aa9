// Package headertest has PROXY headers for tests, good and bad ones, built byte by byte from the
// specification, so that the library is not its own judge.
package headertest

import (
	"encoding/binary"
	"hash/crc32"
	"net"
	"net/netip"
	"slices"

	"github.com/pires/go-proxyproto"
)

// The numbers of version 2 (section 2.2).
const (
	Signature = "\r\n\r\n\x00\r\nQUIT\n"

	CommandLocal = 0x20
	CommandProxy = 0x21

	FamilyUnspec = 0x00
	FamilyTCP4   = 0x11
	FamilyUDP4   = 0x12
	FamilyTCP6   = 0x21
	FamilyUnix   = 0x31
	FamilyUnixgr = 0x32

	TypeALPN      = 0x01
	TypeAuthority = 0x02
	TypeChecksum  = 0x03
	TypePadding   = 0x04
	TypeUniqueID  = 0x05
	TypeCustom    = 0xEA
)

// Source and destination 203.0.113.7:40000, 198.51.100.1:443, and their like.
var (
	Source4      = netip.MustParseAddrPort("203.0.113.7:40000")
	Destination4 = netip.MustParseAddrPort("198.51.100.1:443")
	Source6      = netip.MustParseAddrPort("[2001:db8::7]:40001")
	Destination6 = netip.MustParseAddrPort("[2001:db8::1]:8443")

	Addresses4 = AddressBlock(Source4, Destination4)
	Addresses6 = AddressBlock(Source6, Destination6)
	PathsUnix  = slices.Concat(unixPath("/run/client"), unixPath("/run/server"))
)

// Headers of version 1.
const (
	LineTCP4    = "PROXY TCP4 203.0.113.7 198.51.100.1 40000 443\r\n"
	LineTCP6    = "PROXY TCP6 2001:db8::7 2001:db8::1 40001 8443\r\n"
	LineUnknown = "PROXY UNKNOWN\r\n"
)

// AddressBlock is the addresses of version 2.
func AddressBlock(source, destination netip.AddrPort) []byte {
	block := slices.Concat(source.Addr().AsSlice(), destination.Addr().AsSlice())
	block = binary.BigEndian.AppendUint16(block, source.Port())
	return binary.BigEndian.AppendUint16(block, destination.Port())
}

// Mapped is an IPv4 address as an IPv6 socket shows it.
func Mapped(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(ap.Addr().As16()), ap.Port())
}

func unixPath(path string) []byte { return append([]byte(path), make([]byte, 108-len(path))...) }

// V2 is a version 2 header with the length that its parts have.
func V2(command, family byte, parts ...[]byte) []byte {
	payload := slices.Concat(parts...)
	header := append([]byte(Signature), command, family)
	header = binary.BigEndian.AppendUint16(header, uint16(len(payload)))
	return append(header, payload...)
}

// Field is one TLV.
func Field(kind byte, value []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(value))), value...)
}

// Summed is a header with its CRC32C as the last field.
func Summed(command, family byte, parts ...[]byte) []byte {
	header := V2(command, family, append(parts, Field(TypeChecksum, make([]byte, 4)))...)
	sum := crc32.Checksum(header, crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(header[len(header)-4:], sum)
	return header
}

// Ends returns the two TCP ends that a header names.
func Ends(header *proxyproto.Header) (source, destination netip.AddrPort, ok bool) {
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
