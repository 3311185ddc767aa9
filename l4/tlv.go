package l4

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/pires/go-proxyproto"
)

// A TLV is one of the fields that a PROXY header of version 2 can have beside the
// addresses (section 2.2). What an earlier hop has sent is passed on in any case.
type TLV uint8

// The TLVs that can be asked for.
const (
	TLVAuthority TLV = iota // the server name that the client asked for (2.2.2)
	TLVALPN                 // the protocol that the client would like best (2.2.1)
	TLVUniqueID             // what the session is called here and in the log (2.2.5)
	TLVCRC32C               // a checksum of the header (2.2.3)
	numTLVs
)

var tlvWords = []string{TLVAuthority: "authority", TLVALPN: "alpn", TLVUniqueID: "unique_id", TLVCRC32C: "crc32c"}

// TLVWords returns the words that TLV.UnmarshalText takes.
func TLVWords() []string { return slices.Clone(tlvWords) }

// String returns the word for t.
func (t TLV) String() string { return wordOf(tlvWords, t) }

// MarshalText returns the word for t.
func (t TLV) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText sets t from its word.
func (t *TLV) UnmarshalText(text []byte) error { return readWord("TLV", tlvWords, text, t) }

// addTLVs adds to a header what the pool wants to know of s. What was read here goes
// before what an earlier hop has said of it, but a unique ID stays what it is.
func (l *loop) addTLVs(s *session, header *proxyproto.Header) error {
	received, err := header.TLVs()
	if err != nil {
		return fmt.Errorf("read TLVs: %w", err)
	}
	wanted := &s.target.tlvs
	var own []proxyproto.TLV
	if name := s.serverName(); wanted[TLVAuthority] && name != "" {
		own = append(own, proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte(name)})
	}
	if protocol := s.protocol(); wanted[TLVALPN] && protocol != "" {
		own = append(own, proxyproto.TLV{Type: proxyproto.PP2_TYPE_ALPN, Value: []byte(protocol)})
	}
	if wanted[TLVUniqueID] {
		id := receivedID(received)
		if id == nil {
			id = []byte(l.server.uniqueIDs.of(s.id).String())
		}
		own = append(own, proxyproto.TLV{Type: proxyproto.PP2_TYPE_UNIQUE_ID, Value: id})
	}
	if wanted[TLVCRC32C] {
		own = append(own, proxyproto.TLV{Type: proxyproto.PP2_TYPE_CRC32C, Value: make([]byte, crc32.Size)})
	}
	return header.SetTLVs(merge(header, received, own))
}

func valueOf(tlvs []proxyproto.TLV, kind proxyproto.PP2Type) []byte {
	for _, t := range tlvs {
		if t.Type == kind {
			return t.Value
		}
	}
	return nil
}

// merge returns own TLVs and, before them, those received that are not replaced, as
// many as a header has room for that the next hop takes (maxHeaderV2).
func merge(header *proxyproto.Header, received, own []proxyproto.TLV) []proxyproto.TLV {
	room := maxHeaderV2 - fixedV2 - addressLength(byte(header.TransportProtocol))
	for _, t := range own {
		room -= tlvHead + len(t.Value)
	}
	merged := make([]proxyproto.TLV, 0, len(received)+len(own))
	for _, t := range received {
		if size := tlvHead + len(t.Value); size <= room && valueOf(own, t.Type) == nil {
			merged = append(merged, t)
			room -= size
		}
	}
	return append(merged, own...)
}

const tlvHead = 3 // type and length

// sign fills in the checksum of a header that has a TLV for it: of the whole header
// while those four bytes are zero (section 2.2.3).
func sign(raw []byte) {
	if at := checksumOffset(raw); at >= 0 {
		binary.BigEndian.PutUint32(raw[at:], crc32.Checksum(raw, castagnoli))
	}
}

// protocol returns the ALPN protocol that the client would like best; "" = it has
// offered none. Which one the two agree on is between them.
func (s *session) protocol() string {
	if s.opening != nil {
		for protocol := range s.opening.key.Protocols.All() {
			return protocol
		}
	}
	return ""
}

// uniqueIDIn returns what an earlier hop has called the session; "" = it has not.
func uniqueIDIn(header *proxyproto.Header) string {
	tlvs, err := header.TLVs()
	if err != nil {
		return "" // of a header whose TLVs do not count
	}
	return printable(receivedID(tlvs))
}

// maxUniqueID is the longest unique ID there is (section 2.2.5).
const maxUniqueID = 128

// receivedID returns a unique ID that an earlier hop has given; nil = none, or nothing
// that is one.
func receivedID(tlvs []proxyproto.TLV) []byte {
	if id := valueOf(tlvs, proxyproto.PP2_TYPE_UNIQUE_ID); len(id) > 0 && len(id) <= maxUniqueID {
		return id
	}
	return nil
}

// printable returns a value that may be any bytes as it is, or else in hexadecimal.
func printable(value []byte) string {
	for _, c := range value {
		if c <= ' ' || c > '~' {
			return hex.EncodeToString(value)
		}
	}
	return string(value)
}
