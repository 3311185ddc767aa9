package l4

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net"
	"net/netip"
	"slices"

	"github.com/pires/go-proxyproto"
)

// Bounds of a PROXY header, from section 2 of the specification.
const (
	maxHeaderV1  = 107 // "PROXY UNKNOWN" with the longest addresses, CRLF included
	fixedV2      = 16  // signature, version and command, family, length
	maxHeaderV2  = fixedV2 + 4096
	headerRead   = 16 << 10 // one read while a header is awaited; the rest stays in the kernel
	offsetVerCmd = 12
	offsetFamily = 13
	offsetLength = 14
)

// errShort: the header is not complete; call again with more.
var errShort = errors.New("header is not complete")

// readHeader reads the PROXY header that a session must start with.
func (l *loop) readHeader(s *session) state {
	h, src := &s.halves[client], &s.ends[client]
	for src.ready&readable != 0 && !h.eof {
		n, errno := receive(h, src, l.scratch[:headerRead])
		if errno != 0 {
			return l.end(s, ClientReset, errno)
		}
		data := l.scratch[:n]
		if s.opening != nil {
			s.opening.input = append(s.opening.input, data...)
			data = s.opening.input
		}
		header, size, err := parseHeader(data)
		switch {
		case err == nil:
			return l.headerDone(s, header, data[size:])
		case err != errShort:
			return l.endBroken(s, data, err)
		case s.opening == nil && n > 0:
			l.open(s).input = bytes.Clone(data)
		}
	}
	if h.eof {
		return l.endHeaderless(s)
	}
	return stateReadHeader
}

// endHeaderless ends a session whose client sent FIN before its header was
// complete. One that sent nothing is a port check, not an error.
func (l *loop) endHeaderless(s *session) state {
	if s.opening == nil {
		return l.end(s, ClientClosed, 0)
	}
	return l.endBroken(s, s.opening.input, errShort)
}

// endBroken ends a session whose header is none, and says why.
func (l *loop) endBroken(s *session, data []byte, err error) state {
	s.name().detail = headerFault(data, err)
	return l.end(s, HeaderInvalid, 0)
}

// headerDone takes the addresses from the header and goes on with what the
// client sent after it.
func (l *loop) headerDone(s *session, header *proxyproto.Header, rest []byte) state {
	if source, ok := realClient(header); ok {
		s.client = source
	}
	var reason Reason
	if s.counted, reason = l.admit(s.listener, s.client.Addr()); reason != noReason {
		return l.end(s, reason, 0)
	}
	if unique := uniqueIDIn(header); unique != "" {
		s.name().unique = unique
	}
	opening := l.open(s)
	opening.header, opening.input = header, nil
	switch {
	case len(rest) == 0:
	case !s.traits().peeks:
		s.halves[client].held = bytes.Clone(rest) // no more than it is: there may be many that wait
	default:
		opening.input = bytes.Clone(rest)
	}
	return l.readFirstBytes(s)
}

// realClient is the client's address as the header has it. ok is false where
// the header says that the socket's own address counts: LOCAL, UNKNOWN, and
// families that are no TCP addresses.
func realClient(header *proxyproto.Header) (netip.AddrPort, bool) {
	source, _, ok := header.TCPAddrs()
	if !ok || header.Command.IsLocal() {
		return netip.AddrPort{}, false
	}
	ap := source.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), true
}

// parseHeader reads one PROXY header, version 1 or 2, from the start of data
// and returns its size. errShort: call again with more.
func parseHeader(data []byte) (header *proxyproto.Header, size int, err error) {
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
		if len(data) < fixedV2 {
			return 0, errShort
		}
		size := fixedV2 + int(binary.BigEndian.Uint16(data[offsetLength:]))
		if size > maxHeaderV2 {
			return 0, proxyproto.ErrInvalidLength
		}
		if len(data) < size {
			return 0, errShort
		}
		return size, nil
	case hasPrefix(data, []byte("PROXY ")):
		if end := bytes.IndexByte(data[:min(len(data), maxHeaderV1)], '\n'); end >= 0 {
			return end + 1, nil
		}
		if len(data) >= maxHeaderV1 {
			return 0, proxyproto.ErrVersion1HeaderTooLong
		}
		return 0, errShort
	}
	return 0, proxyproto.ErrNoProxyProtocol
}

// hasPrefix reports whether data begins with prefix, or could if it went on.
func hasPrefix(data, prefix []byte) bool {
	n := min(len(data), len(prefix))
	return bytes.Equal(data[:n], prefix[:n])
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errChecksum = errors.New("CRC32C of the header is wrong")

// checkTLVs verifies that the vector is well formed and that its checksum,
// where it has one, is that of the whole header with the checksum's own four
// bytes zero (section 2.2.3). The checksum is then taken out: it would be wrong
// for the header that is passed on. So is padding.
func checkTLVs(header *proxyproto.Header, raw []byte) error {
	if header.Version != 2 {
		return nil
	}
	tlvs, err := header.TLVs()
	// Of LOCAL "the receiver must accept this connection as valid and must [...]
	// discard the protocol block", section 2.2, whatever it is made of.
	if err != nil && !header.Command.IsLocal() {
		return err
	}
	kept := tlvs[:0]
	for _, tlv := range tlvs {
		switch tlv.Type {
		case proxyproto.PP2_TYPE_CRC32C:
			if !checksumRight(raw, tlv.Value) {
				return errChecksum
			}
		case proxyproto.PP2_TYPE_NOOP:
		default:
			kept = append(kept, tlv)
		}
	}
	if header.Command.IsLocal() {
		kept = nil // they say nothing of this connection's client
	}
	return header.SetTLVs(kept)
}

// checksumRight compares value with the CRC32C of raw, whose own checksum
// field counts as zero.
func checksumRight(raw, value []byte) bool {
	at := checksumOffset(raw)
	if len(value) != crc32.Size || at < 0 {
		return false
	}
	zeroed := slices.Clone(raw)
	clear(zeroed[at : at+crc32.Size])
	return crc32.Checksum(zeroed, castagnoli) == binary.BigEndian.Uint32(value)
}

// checksumOffset is where the value of the CRC32C TLV starts in raw; -1 = none.
func checksumOffset(raw []byte) int {
	for at := fixedV2 + addressLength(raw[offsetFamily]); at+3 <= len(raw); {
		length := int(binary.BigEndian.Uint16(raw[at+1:]))
		if raw[at] == byte(proxyproto.PP2_TYPE_CRC32C) && at+3+length <= len(raw) {
			return at + 3
		}
		at += 3 + length
	}
	return -1
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
