package proxyheader

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"slices"

	"github.com/pires/go-proxyproto"
)

// checkTLVs verifies that the vector is well formed and that its checksum, where it has one, is that of the whole
// header with the checksum's own four bytes zero (section 2.2.3). The checksum is then taken out: it would be wrong for
// the header that is passed on. So is padding.
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

func valueOf(tlvs []proxyproto.TLV, kind proxyproto.PP2Type) []byte {
	for _, t := range tlvs {
		if t.Type == kind {
			return t.Value
		}
	}
	return nil
}

// Merge returns own TLVs and, before them, those received that are not replaced, as
// many as a header has room for that the next hop takes (MaxV2).
func Merge(header *proxyproto.Header, received, own []proxyproto.TLV) []proxyproto.TLV {
	room := MaxV2 - FixedV2 - addressLength(byte(header.TransportProtocol))
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

// UniqueIDIn returns what an earlier hop has called the session; "" = it has not.
func UniqueIDIn(header *proxyproto.Header) string {
	tlvs, err := header.TLVs()
	if err != nil {
		return "" // of a header whose TLVs do not count
	}
	return printable(UniqueID(tlvs))
}

// maxUniqueID is the longest unique ID there is (section 2.2.5).
const maxUniqueID = 128

// UniqueID returns a unique ID that an earlier hop has given; nil = none, or nothing that is one.
func UniqueID(tlvs []proxyproto.TLV) []byte {
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

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errChecksum = errors.New("CRC32C of the header is wrong")

// checksumRight compares value with the CRC32C of raw, whose own checksum field counts as zero.
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
	for at := FixedV2 + addressLength(raw[offsetFamily]); at+3 <= len(raw); {
		length := int(binary.BigEndian.Uint16(raw[at+1:]))
		if raw[at] == byte(proxyproto.PP2_TYPE_CRC32C) && at+3+length <= len(raw) {
			return at + 3
		}
		at += 3 + length
	}
	return -1
}

// Sign fills in the checksum of a header that has a TLV for it: of the whole header
// while those four bytes are zero (section 2.2.3).
func Sign(raw []byte) {
	if at := checksumOffset(raw); at >= 0 {
		binary.BigEndian.PutUint32(raw[at:], crc32.Checksum(raw, castagnoli))
	}
}
