package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

// The kinds of work as the head of a session's first message names them.
const (
	opExchange = 'x'
	opDownload = 'd'
	opUpload   = 'u'
	opHello    = 0x16 // no work of ours: the type of a TLS handshake record
)

const (
	// headSize is the length of the head and the smallest message.
	headSize = 16
	// MaxMessage is the largest message of an exchange.
	MaxMessage = chunk
	// chunk is what a stream moves in one system call: it stays in the L2
	// cache together with the pattern's working set.
	chunk = 128 << 10
	// period is a prime, see the package comment.
	period = 1_000_003
	// comparedWhole is how much of a stream is compared byte by byte. After that only the ends of each read are:
	// comparing everything costs the receiver a tenth of its throughput.
	comparedWhole = 4 << 20
	// countSize is the length of the answer to an upload.
	countSize = 8
)

var (
	errWrongBytes = errors.New("wrong bytes")
	errHead       = errors.New("wrong head")
)

type head [headSize]byte

func makeHead(op byte, size int, tag uint64) (h head) {
	h[0] = op
	binary.LittleEndian.PutUint32(h[4:], uint32(size))
	binary.LittleEndian.PutUint64(h[8:], tag)
	return h
}

// parse checks what every head must fulfil. The tag is the client's own.
func (h *head) parse() (op byte, size int, err error) {
	if size = recordHeader + recordBody(h[:]); h[0] == opHello && size >= headSize {
		return opHello, size, nil
	}
	op, size = h[0], int(binary.LittleEndian.Uint32(h[4:]))
	known := op == opExchange || op == opDownload || op == opUpload
	if !known || h[1] != 0 || h[2] != 0 || h[3] != 0 || size < headSize || size > MaxMessage {
		return 0, 0, fmt.Errorf("%w: % x", errHead, h[:])
	}
	return op, size, nil
}

// pattern is one period of fixed pseudo-random bytes, and one chunk more, so
// that a chunk at any position is contiguous.
var pattern = sync.OnceValue(func() []byte {
	p := make([]byte, period+chunk)
	x := uint64(0x9e3779b97f4a7c15)
	for i := range period {
		x ^= x << 13 // xorshift64
		x ^= x >> 7
		x ^= x << 17
		p[i] = byte(x >> 32)
	}
	copy(p[period:], p)
	return p
})

// message returns a buffer whose body is the pattern; the head is filled in for each use.
func message(size int) []byte {
	return bytes.Clone(pattern()[:size])
}

// checkBody compares received bytes of a message that start at offset at, which lies behind the head.
func checkBody(want, got []byte, at int) error {
	if !bytes.Equal(got, want[at:at+len(got)]) {
		return fmt.Errorf("%w in message at offset %d", errWrongBytes, at)
	}
	return nil
}

// checkStream compares stream bytes that start at position pos.
func checkStream(pat, got []byte, pos uint64) error {
	const ends = 64
	want := pat[pos%period:][:len(got)]
	if pos < comparedWhole || len(got) <= 2*ends {
		if bytes.Equal(got, want) {
			return nil
		}
	} else if tail := len(got) - ends; bytes.Equal(got[:ends], want[:ends]) && bytes.Equal(got[tail:], want[tail:]) {
		return nil
	}
	return fmt.Errorf("%w in stream after %d", errWrongBytes, pos)
}
