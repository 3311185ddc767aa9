package handoff

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"testing"

	"sluice/sysutil"
)

// cut divides a stream as plan says, a byte for each piece: the two low bits are its descriptors, the others its length.
// What is left goes in one.
func cut(stream, plan []byte) (pieces []piece) {
	for _, p := range plan {
		n := min(int(p>>2)+1, len(stream))
		if n == 0 {
			return pieces
		}
		pieces = append(pieces, piece{stream[:n], int(p & 3)})
		stream = stream[n:]
	}
	if len(stream) > 0 {
		pieces = append(pieces, piece{stream, 0})
	}
	return pieces
}

// A reading is what should come of a stream: the messages, and how it ends.
type reading struct {
	messages []Message // Files has the right length only
	err      error
}

// read is the format once more, as simply as can be: over the whole stream, with the place of each descriptor known.
func read(pieces []piece) (r reading) {
	var stream []byte
	filesAt := map[int]int{}
	for _, p := range pieces {
		filesAt[len(stream)] += p.files
		stream = append(stream, p.bytes...)
	}
	files := func(from, to int) (n int) {
		for at := from; at < to; at++ {
			n += filesAt[at]
		}
		return n
	}
	at := 0
	for more := -1; ; more = -1 {
		if at == len(stream) {
			r.err = io.EOF
			return r
		}
		var m Message
		for more != 0 {
			if len(stream)-at < 16 {
				r.err = io.ErrUnexpectedEOF
				return r
			}
			h := stream[at : at+16]
			kind, count := Kind(binary.BigEndian.Uint16(h[4:])), int(binary.BigEndian.Uint16(h[6:]))
			size, left := int64(binary.BigEndian.Uint32(h[8:])), int64(binary.BigEndian.Uint32(h[12:]))
			r.err = ErrFrame // if this returns
			if string(h[:4]) != "SLHO" || kind < Hello || kind > Farewell || size+int64(len(m.Body)) > 64<<20 || left > 259 ||
				count > 253 || count != files(at, at+16) || more >= 0 && (kind != m.Kind || left != int64(more-1)) {
				return r
			}
			at += 16
			end := at + int(size)
			if files(at, min(end, len(stream))) > 0 {
				return r
			}
			if end > len(stream) {
				r.err = io.ErrUnexpectedEOF
				return r
			}
			m.Kind, more = kind, int(left)
			m.Body = append(m.Body, stream[at:end]...)
			m.Files = append(m.Files, make([]int, count)...)
			at = end
		}
		r.messages = append(r.messages, m)
	}
}

// FuzzReceive checks of any stream, however it is cut and wherever descriptors come with it, that what is received is what
// the format says, and that every descriptor is with its message or closed.
func FuzzReceive(f *testing.F) {
	two, second := twoFrames()
	whole := []byte{byte(second-1)<<2 | 2, 15<<2 | 1}
	f.Add(two, whole)
	f.Add(two, []byte{0<<2 | 1, 0<<2 | 1, byte(second-3) << 2, 0<<2 | 1})
	f.Add(append(slices.Clone(two), two...), append(slices.Clone(whole), 4<<2, whole[0], 15<<2|1))
	f.Add(two[:len(two)-1], whole)
	f.Add(two, []byte{byte(second-2)<<2 | 2, 16<<2 | 1})
	notNext := rawFrame(frame{kind: Batch, files: 1, size: 5, more: 4}, "") // and its body does not come
	f.Add(append(slices.Clone(two[:second]), notNext...), whole)
	one := rawFrame(frame{kind: Go, size: 3}, "{}\n")
	f.Add(slices.Repeat(one, 3), []byte{3 << 2, 3 << 2})
	f.Add(one, []byte{63<<2 | 1})
	f.Add(rawFrame(frame{kind: State, files: 3, size: MaxBody}, "{"), []byte{15<<2 | 3})
	f.Add(rawFrame(frame{kind: kinds}, ""), []byte(nil))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), []byte{63})
	f.Fuzz(func(t *testing.T, stream, plan []byte) {
		if len(stream)+len(plan) > 1<<16 {
			return // more of the same
		}
		pieces := cut(stream, plan)
		near, far := socketpair(t)
		m := newMark(t)
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			defer near.Close()
			for _, p := range pieces { // the other end closes where it finds a lie
				if _, err := sysutil.SendFiles(near, p.bytes, repeated(m.write, p.files)); err != nil {
					return
				}
			}
		}()
		check(t, far, read(pieces))
		<-sent
		m.checkEnded(t)
	})
}

// check receives until the end and compares.
func check(t *testing.T, far *net.UnixConn, want reading) {
	t.Helper()
	c := New(far)
	defer c.Close()
	for i := 0; ; i++ {
		m, err := c.Receive()
		if err != nil {
			if i != len(want.messages) || !errors.Is(err, want.err) {
				t.Fatalf("%v after %d messages; want %v after %d", err, i, want.err, len(want.messages))
			}
			return
		}
		defer m.CloseFiles()
		if i >= len(want.messages) {
			t.Fatalf("%v came where %v should", m.Kind, want.err)
		}
		if w := want.messages[i]; m.Kind != w.Kind || string(m.Body) != string(w.Body) || len(m.Files) != len(w.Files) {
			t.Fatalf("message %d is %v %q with %d descriptors; want %v %q with %d", i, m.Kind, m.Body, len(m.Files),
				w.Kind, w.Body, len(w.Files))
		}
	}
}
