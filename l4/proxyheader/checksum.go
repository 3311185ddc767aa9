package proxyheader

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"

	"github.com/pires/go-proxyproto"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errChecksum = errors.New("CRC32C of the header is wrong")

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
