package proxyheader

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/pires/go-proxyproto"
)

// Fault says which rule a PROXY header breaks that could not be read, and at which
// byte. Bytes count from 1, as the specification counts them. err is what Parse
// has returned for data; ErrShort means that the header will never be complete.
func Fault(data []byte, err error) string {
	const v1 = "PROXY "
	matching := max(commonPrefix(data, []byte(v1)), commonPrefix(data, proxyproto.SIGV2))
	fault := ""
	switch {
	case err == ErrShort:
		return fmt.Sprintf("the header is cut: it ends after byte %d", len(data))
	case matching < len(data) && matching < len(v1):
		return fmt.Sprintf(`byte %d is %#02x: a header begins with "PROXY " or the signature of version 2`, matching+1,
			data[matching])
	case data[0] != proxyproto.SIGV2[0]:
		fault = lineFault(data)
	case matching < len(proxyproto.SIGV2):
		return fmt.Sprintf("byte %d is %#02x: the signature of version 2 is another", matching+1, data[matching])
	default:
		fault = binaryFault(data)
	}
	if fault == "" {
		fault = strings.TrimPrefix(err.Error(), "proxyproto: ")
	}
	return fault
}

func commonPrefix(a, b []byte) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// binaryFault is Fault for version 2: its fixed part, the length, then the block.
func binaryFault(data []byte) string {
	command, family := proxyproto.ProtocolVersionAndCommand(data[offsetVerCmd]), data[offsetFamily]
	length := int(binary.BigEndian.Uint16(data[offsetLength:]))
	most := MaxV2 - FixedV2
	switch {
	case length > most:
		return fmt.Sprintf("bytes 15 and 16 say that %d bytes follow: at most %d may", length, most)
	case command != proxyproto.LOCAL && command != proxyproto.PROXY:
		return fmt.Sprintf("byte 13 is %#02x: version and command are 0x20 (LOCAL) or 0x21 (PROXY)", byte(command))
	case command == proxyproto.PROXY && !isFamily(family):
		return fmt.Sprintf("byte 14 is %#02x: no such family and protocol of addresses", family)
	case command == proxyproto.PROXY && length < addressLength(family):
		return fmt.Sprintf("bytes 15 and 16 say that %d bytes follow: the addresses alone have %d", length,
			addressLength(family))
	}
	return fieldsFault(data[:min(FixedV2+length, len(data))], FixedV2+addressLength(family))
}

// fieldsFault is Fault for the TLVs, which begin at some offset.
func fieldsFault(raw []byte, at int) string {
	for at < len(raw) {
		if len(raw)-at < tlvHead {
			return fmt.Sprintf("byte %d begins a TLV of which not even type and length are there", at+1)
		}
		kind, size := raw[at], int(binary.BigEndian.Uint16(raw[at+1:]))
		if left := len(raw) - at - tlvHead; size > left {
			return fmt.Sprintf("byte %d begins a TLV of type %#02x and %d bytes: only %d are left", at+1, kind, size, left)
		}
		if value := raw[at+tlvHead : at+tlvHead+size]; kind == byte(proxyproto.PP2_TYPE_CRC32C) && !checksumRight(raw, value) {
			return fmt.Sprintf("byte %d begins a checksum (CRC32C) that is not that of the header", at+1)
		}
		at += tlvHead + size
	}
	return ""
}

// lineFault is Fault for version 1.
func lineFault(data []byte) string {
	end := bytes.IndexByte(data[:min(len(data), maxV1)], '\n')
	switch {
	case end < 0:
		return fmt.Sprintf("no line ends up to byte %d: a header of version 1 is at most that long", maxV1)
	case end == 0 || data[end-1] != '\r':
		return fmt.Sprintf("byte %d ends the line without a CR before it", end+1)
	}
	fields, at := strings.Split(string(data[:end-1]), " "), 1
	for i, field := range fields {
		if fault := fieldFault(i, field, fields[min(fieldFamily, len(fields)-1)]); fault != "" {
			return fmt.Sprintf("byte %d: %s", at, fault)
		}
		at += len(field) + len(" ")
	}
	return fmt.Sprintf("byte %d ends the line after %d of %d fields", end, len(fields), fieldsV1)
}

// fieldFault returns what is wrong with a field of a line.
func fieldFault(place int, field, family string) string {
	what := [...]string{fieldSource: "source", fieldDestination: "destination", "source port", "destination port"}
	switch place {
	case 0:
	case fieldFamily:
		if field != familyV4 && field != familyV6 {
			return fmt.Sprintf("%+q is none of TCP4, TCP6 and UNKNOWN", field)
		}
	case fieldSource, fieldDestination:
		address, err := netip.ParseAddr(field)
		if err != nil || address.Zone() != "" {
			return fmt.Sprintf("%s %+q is no address", what[place], field)
		}
		if place == fieldSource && address.Is4() != (family == familyV4) {
			return fmt.Sprintf("source %+q is not of the family %s", field, family)
		}
	case fieldDestination + 1, fieldsV1 - 1:
		if n, err := strconv.ParseUint(field, 10, 16); err != nil || strconv.FormatUint(n, 10) != field {
			return fmt.Sprintf("%s %+q is no number from 0 to 65535", what[place], field)
		}
	default:
		return fmt.Sprintf("%+q is one field too many", field)
	}
	return ""
}
