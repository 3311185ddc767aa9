package proxyheader

import (
	"bytes"
	"net/netip"
	"slices"

	"github.com/pires/go-proxyproto"
)

// strict returns a header as the library takes it. Some are valid that it refuses, and one form is common though it is
// not: they are put in other words that mean the same. raw is not changed.
func strict(raw []byte) []byte {
	if raw[0] != proxyproto.SIGV2[0] {
		return oneFamily(raw)
	}
	family := raw[offsetFamily]
	switch command := proxyproto.ProtocolVersionAndCommand(raw[offsetVerCmd]); {
	case command == proxyproto.LOCAL && !isFamily(family):
		// "The receiver must accept this connection as valid and must [...] discard
		// the protocol block including the family which is ignored", section 2.2.
		raw = slices.Clone(raw[:FixedV2])
		raw[offsetFamily], raw[offsetLength], raw[offsetLength+1] = byte(proxyproto.UNSPEC), 0, 0
	case command == proxyproto.PROXY && family == byte(proxyproto.UNSPEC):
		// "The receiver should ignore address information", section 2.2: the
		// same as LOCAL, which is what the library knows.
		raw = slices.Clone(raw)
		raw[offsetVerCmd] = byte(proxyproto.LOCAL)
	}
	return raw
}

// isFamily reports whether a byte is an address family with a protocol that version 2 knows (section 2.2).
func isFamily(b byte) bool {
	switch proxyproto.AddressFamilyAndProtocol(b) {
	case proxyproto.UNSPEC, proxyproto.TCPv4, proxyproto.UDPv4, proxyproto.TCPv6, proxyproto.UDPv6,
		proxyproto.UnixStream, proxyproto.UnixDatagram:
		return true
	}
	return false
}

// oneFamily returns a line of version 1 in which both addresses are of the family that it names. nginx names the family
// of the client that it was told of, and then the address of its own socket, which may be of another one, or the path
// of a Unix socket. Of two families the IPv4 address is put in its IPv6 form; for a path stands the address that says
// nothing. The source is what counts, so that must be of the family named.
func oneFamily(line []byte) []byte {
	fields := bytes.Split(line, []byte(" "))
	if len(fields) != fieldsV1 {
		return line
	}
	source, err := netip.ParseAddr(string(fields[fieldSource]))
	if err != nil || source.Is4() != (string(fields[fieldFamily]) == familyV4) {
		return line
	}
	destination, err := netip.ParseAddr(string(fields[fieldDestination]))
	switch {
	case bytes.HasPrefix(fields[fieldDestination], []byte("unix:")):
		destination = netip.IPv6Unspecified()
		if source.Is4() {
			destination = netip.IPv4Unspecified()
		}
	case err != nil || source.Is4() == destination.Is4():
		return line
	default:
		source, destination = netip.AddrFrom16(source.As16()), netip.AddrFrom16(destination.As16())
		fields[fieldFamily] = []byte(familyV6)
	}
	fields[fieldSource], fields[fieldDestination] = []byte(source.String()), []byte(destination.String())
	return bytes.Join(fields, []byte(" "))
}

// The fields of a line of version 1 that names addresses, by their place, and the words for its families (section 2.1).
const (
	fieldFamily      = 1
	fieldSource      = 2
	fieldDestination = 3
	fieldsV1         = 6

	familyV4 = "TCP4"
	familyV6 = "TCP6"
)
