package l4

import (
	"fmt"
	"hash/crc32"

	"github.com/pires/go-proxyproto"

	"sluice/l4/proxyheader"
	"sluice/pool/words"
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

var tlvWords = words.Table[TLV]{Type: "TLV", What: "TLV", Words: []string{
	TLVAuthority: "authority", TLVALPN: "alpn", TLVUniqueID: "unique_id", TLVCRC32C: "crc32c",
}}

// TLVWords returns the words that TLV.UnmarshalText takes.
func TLVWords() []string { return tlvWords.All() }

// String returns the word for t.
func (t TLV) String() string { return tlvWords.Of(t) }

// MarshalText returns the word for t.
func (t TLV) MarshalText() ([]byte, error) { return tlvWords.Marshal(t) }

// UnmarshalText sets t from its word.
func (t *TLV) UnmarshalText(text []byte) error { return tlvWords.Unmarshal(text, t) }

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
		id := proxyheader.UniqueID(received)
		if id == nil {
			id = []byte(l.server.uniqueIDs.of(s.id).String())
		}
		own = append(own, proxyproto.TLV{Type: proxyproto.PP2_TYPE_UNIQUE_ID, Value: id})
	}
	if wanted[TLVCRC32C] {
		own = append(own, proxyproto.TLV{Type: proxyproto.PP2_TYPE_CRC32C, Value: make([]byte, crc32.Size)})
	}
	return header.SetTLVs(proxyheader.Merge(header, received, own))
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
