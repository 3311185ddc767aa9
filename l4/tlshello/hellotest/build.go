// Package hellotest has ClientHellos for tests, good and bad ones, built byte by byte from
// RFC 8446, sections 4 and 5, without the code that they are to test.
package hellotest

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
)

// Prefixed is a vector: body with its length in so many bytes before it.
func Prefixed(bytes int, body ...[]byte) []byte {
	all := slices.Concat(body...)
	length := binary.BigEndian.AppendUint64(nil, uint64(len(all)))
	return append(length[8-bytes:], all...)
}

// Extension is one extension: type, length, body.
func Extension(kind uint16, body ...[]byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, kind), Prefixed(2, body...)...)
}

// HostName is one entry of a list of server names.
func HostName(name string) []byte { return append([]byte{0}, Prefixed(2, []byte(name))...) }

// ServerNames is the extension server_name (RFC 6066, 3).
func ServerNames(entries ...[]byte) []byte { return Extension(0, Prefixed(2, entries...)) }

// ALPN is the extension of that name (RFC 7301, 3.1).
func ALPN(protocols ...string) []byte {
	var list []byte
	for _, p := range protocols {
		list = append(list, Prefixed(1, []byte(p))...)
	}
	return Extension(16, Prefixed(2, list))
}

// Fields are the fields of a ClientHello before its extensions.
var Fields = slices.Concat(
	[]byte{3, 3}, random(1, 32), Prefixed(1, random(2, 32)), Prefixed(2, []byte{0x13, 1, 0x13, 2}), Prefixed(1, []byte{0}),
)

// Message is the handshake message of a ClientHello with these extensions.
func Message(extensions ...[]byte) []byte {
	return Handshake(1, Fields, Prefixed(2, extensions...))
}

// Handshake is a message: type, length, body.
func Handshake(kind byte, body ...[]byte) []byte {
	return append([]byte{kind}, Prefixed(3, body...)...)
}

// Record is one record, however long.
func Record(kind byte, fragment ...[]byte) []byte {
	return append([]byte{kind, 3, 1}, Prefixed(2, fragment...)...)
}

// InRecords puts a message into records of these sizes, and what is left into as few as it takes.
func InRecords(message []byte, sizes ...int) (data []byte) {
	for len(message) > 0 {
		n := min(len(message), 1<<14)
		if len(sizes) > 0 {
			n, sizes = min(max(sizes[0], 1), n), sizes[1:]
		}
		data, message = append(data, Record(22, message[:n])...), message[n:]
	}
	return data
}

// Cuts returns the sizes of all records of a message but the last one, by chance.
func Cuts(rnd *rand.Rand, length, records int) []int {
	var ends []int
	for range records - 1 {
		ends = append(ends, 1+rnd.IntN(length-1))
	}
	slices.Sort(ends)
	for i := len(ends) - 1; i > 0; i-- {
		ends[i] -= ends[i-1]
	}
	return ends
}

// Unframed is the message of complete records.
func Unframed(records []byte) (message []byte) {
	for len(records) > 0 {
		end := 5 + int(binary.BigEndian.Uint16(records[3:]))
		message, records = append(message, records[5:end]...), records[end:]
	}
	return message
}

// OfSize is a ClientHello of a given size, records included, that asks for
// shop.example.com: in as few records as it takes, with an extension as filler.
func OfSize(t testing.TB, size int) []byte {
	t.Helper()
	filled := func(n int) []byte {
		return InRecords(Message(Extension(21, make([]byte, n)), ServerNames(HostName("shop.example.com"))))
	}
	data := filled(sort.Search(size, func(n int) bool { return len(filled(n)) >= size })) // one more byte makes it longer
	if len(data) != size {
		t.Fatalf("there is no hello of %d bytes", size)
	}
	return data
}

// random are bytes that are always the same for a seed.
func random(seed byte, n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}
