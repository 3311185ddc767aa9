package l4

import (
	"encoding/binary"
	"slices"
	"testing"
)

// parseHello reads a ClientHello that is all there.
func parseHello(data []byte) (hello tlsHello, size int, err error) {
	var r helloReader
	return r.read(data)
}

// The hellos of the tests, built byte by byte from RFC 8446, 4 and 5.

// prefixed is a vector: body with its length in so many bytes before it.
func prefixed(bytes int, body ...[]byte) []byte {
	all := slices.Concat(body...)
	length := binary.BigEndian.AppendUint64(nil, uint64(len(all)))
	return append(length[8-bytes:], all...)
}

func extension(kind uint16, body ...[]byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, kind), prefixed(2, body...)...)
}

// hostName is one entry of a list of server names.
func hostName(name string) []byte { return append([]byte{0}, prefixed(2, []byte(name))...) }

func serverNames(entries ...[]byte) []byte { return extension(0, prefixed(2, entries...)) }

func alpn(protocols ...string) []byte {
	var list []byte
	for _, p := range protocols {
		list = append(list, prefixed(1, []byte(p))...)
	}
	return extension(16, prefixed(2, list))
}

// helloFields are the fields of a ClientHello before its extensions.
var helloFields = slices.Concat(
	[]byte{3, 3}, random(1, 32), prefixed(1, random(2, 32)), prefixed(2, []byte{0x13, 1, 0x13, 2}), prefixed(1, []byte{0}),
)

// helloMessage is the handshake message of a ClientHello with these extensions.
func helloMessage(extensions ...[]byte) []byte {
	return handshake(1, helloFields, prefixed(2, extensions...))
}

// handshake is a message: type, length, body.
func handshake(kind byte, body ...[]byte) []byte {
	return append([]byte{kind}, prefixed(3, body...)...)
}

// tlsRecord is one record, however long.
func tlsRecord(kind byte, fragment ...[]byte) []byte {
	return append([]byte{kind, 3, 1}, prefixed(2, fragment...)...)
}

// inRecords puts a message into records of these sizes, and what is left into as few
// as it takes.
func inRecords(message []byte, sizes ...int) (data []byte) {
	for len(message) > 0 {
		n := min(len(message), 1<<14)
		if len(sizes) > 0 {
			n, sizes = min(max(sizes[0], 1), n), sizes[1:]
		}
		data, message = append(data, tlsRecord(22, message[:n])...), message[n:]
	}
	return data
}

// unframed is the message of complete records.
func unframed(records []byte) (message []byte) {
	for len(records) > 0 {
		end := 5 + int(binary.BigEndian.Uint16(records[3:]))
		message, records = append(message, records[5:end]...), records[end:]
	}
	return message
}

// helloOf is a ClientHello of a given size, records included, that asks for
// shop.example.com: in as few records as it takes, with an extension as filler.
func helloOf(t testing.TB, size int) []byte {
	t.Helper()
	for n := size; n >= 0; n-- {
		data := inRecords(helloMessage(extension(21, make([]byte, n)), serverNames(hostName("shop.example.com"))))
		if len(data) == size {
			return data
		}
	}
	t.Fatalf("there is no hello of %d bytes", size)
	return nil
}
