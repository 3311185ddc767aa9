package proxyheader

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

// Bounds of a header, from section 2 of the specification.
const (
	FixedV2 = 16 // of version 2: signature, version and command, family, length
	MaxV2   = FixedV2 + 4096

	maxV1        = 107 // "PROXY UNKNOWN" with the longest addresses, CRLF included
	offsetVerCmd = 12
	offsetFamily = 13
	offsetLength = 14
	tlvHead      = 3 // type and length
)

// ErrShort: the header is not complete; call again with more.
var ErrShort = errors.New("header is not complete")

// Parse reads one PROXY header, version 1 or 2, from the start of data
// and returns its size. ErrShort: call again with more.
func Parse(data []byte) (header *proxyproto.Header, size int, err error) {
	size, err = headerSize(data)
	if err != nil {
		return nil, 0, err
	}
	raw := data[:size]
	readable := strict(raw)
	header, err = proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(readable), max(len(readable), 1)))
	if err != nil {
		return nil, 0, err
	}
	if err := checkTLVs(header, raw); err != nil {
		return nil, 0, err
	}
	return header, size, nil
}

// headerSize returns how long the header at the start of data is, once that
// can be told. It never asks for more than the longest valid header.
func headerSize(data []byte) (int, error) {
	switch {
	case hasPrefix(data, proxyproto.SIGV2):
		if len(data) < FixedV2 {
			return 0, ErrShort
		}
		size := FixedV2 + int(binary.BigEndian.Uint16(data[offsetLength:]))
		if size > MaxV2 {
			return 0, proxyproto.ErrInvalidLength
		}
		if len(data) < size {
			return 0, ErrShort
		}
		return size, nil
	case hasPrefix(data, []byte("PROXY ")):
		if end := bytes.IndexByte(data[:min(len(data), maxV1)], '\n'); end >= 0 {
			return end + 1, nil
		}
		if len(data) >= maxV1 {
			return 0, proxyproto.ErrVersion1HeaderTooLong
		}
		return 0, ErrShort
	}
	return 0, proxyproto.ErrNoProxyProtocol
}

// hasPrefix reports whether data begins with prefix, or could if it went on.
func hasPrefix(data, prefix []byte) bool {
	n := min(len(data), len(prefix))
	return bytes.Equal(data[:n], prefix[:n])
}

// Client is the client's address as the header has it. ok is false where the header says that the socket's own address
// counts: LOCAL, UNKNOWN, and families that are no TCP addresses.
func Client(header *proxyproto.Header) (netip.AddrPort, bool) {
	source, _, ok := header.TCPAddrs()
	if !ok || header.Command.IsLocal() {
		return netip.AddrPort{}, false
	}
	ap := source.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), true
}

// addressLength is the size of a family's address block (section 2.2).
func addressLength(family byte) int {
	protocol := proxyproto.AddressFamilyAndProtocol(family)
	switch {
	case protocol.IsIPv4():
		return 2*net.IPv4len + 4
	case protocol.IsIPv6():
		return 2*net.IPv6len + 4
	case protocol.IsUnix():
		return 2 * 108
	}
	return 0
}
