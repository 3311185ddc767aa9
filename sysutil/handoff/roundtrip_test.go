package handoff

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"sluice/sysutil"
)

type note struct {
	Text string `json:"text,omitempty"`
	N    int    `json:"n,omitempty"`
}

// pass sends a message through a connection and returns it; both sides must be content.
func pass(t testing.TB, from, to *Conn, kind Kind, body any, files ...int) *Message {
	t.Helper()
	sent := make(chan error, 1)
	go func() { sent <- from.Send(kind, body, files...) }()
	m, err := to.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.CloseFiles)
	return m
}

// TestRoundTrip passes every kind of message, both ways, on one connection.
func TestRoundTrip(t *testing.T) {
	near, far := socketpair(t)
	a, b := New(near), New(far)
	for kind := Hello; kind < kinds; kind++ {
		m := pass(t, a, b, kind, note{Text: "a <b> é", N: int(kind)})
		var got note
		if err := m.Decode(&got); err != nil || m.Kind != kind || got != (note{"a <b> é", int(kind)}) || len(m.Files) != 0 {
			t.Errorf("%v: %+v, %v, %d descriptors, %v", m.Kind, got, err, len(m.Files), err)
		}
		a, b = b, a
	}
	m := pass(t, a, b, Take, nil)
	if got := strings.TrimSpace(string(m.Body)); got != "{}" {
		t.Errorf("the body of nothing is %q", got)
	}
	a.Close()
	for range 2 {
		if _, err := b.Receive(); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
	}
}

// TestBodySizes passes bodies around every size where something changes.
func TestBodySizes(t *testing.T) {
	near, far := socketpair(t)
	a, b := New(near), New(far)
	random := rand.New(rand.NewPCG(1, 2))
	const quotes = 3 // and the end of the line
	for _, size := range []int{0, 1, 100, leastPart - quotes - 1, leastPart - quotes, leastPart - quotes + 1, 2 * leastPart,
		1 << 20, MaxBody - quotes} {
		body := strings.Repeat(string(rune('a'+random.IntN(26))), size)
		m := pass(t, a, b, State, body)
		if !bytes.Equal(m.Body, []byte("\""+body+"\"\n")) {
			t.Errorf("%d bytes came as %d others", size, len(m.Body))
		}
		if cap(m.Body) > 2*len(m.Body)+2*leastPart {
			t.Errorf("%d bytes are held for %d", cap(m.Body), len(m.Body))
		}
	}
	// A message that may not be is refused before any of it is sent, and the next one passes.
	if err := a.Send(State, strings.Repeat("x", MaxBody-quotes+1)); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a body beyond the bound: %v", err)
	}
	if err := a.Send(State, nil, make([]int, MaxFiles+1)...); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("descriptors beyond the bound: %v", err)
	}
	if err := a.Send(kinds, nil); err == nil {
		t.Error("a kind that is none was sent")
	}
	if err := a.Send(Go, func() {}); err == nil {
		t.Error("a function was sent")
	}
	if m := pass(t, a, b, Go, json.RawMessage(`{"n":7}`)); strings.TrimSpace(string(m.Body)) != `{"n":7}` {
		t.Errorf("after those: %s", m.Body)
	}
}

// TestFileCounts passes numbers of descriptors around every bound of the kernel's and ours. Each must be the file that
// was sent at its place, CLOEXEC, and the sender keeps its own.
func TestFileCounts(t *testing.T) {
	limit, err := sysutil.RaiseFileLimit()
	if err != nil {
		t.Fatal(err)
	}
	near, far := socketpair(t)
	a, b := New(near), New(far)
	first, last, other := newMark(t), newMark(t), newMark(t)
	const most = sysutil.MaxPassed
	for _, n := range []int{2, 3, most - 1, most, most + 1, 2*most - 1, 2 * most, 2*most + 1,
		min(5000, int(limit)-100)} {
		files := append(append([]int{first.write}, repeated(other.write, n-2)...), last.write)
		m := pass(t, a, b, Batch, note{N: n}, files...)
		if len(m.Files) != n {
			t.Fatalf("%d descriptors came as %d", n, len(m.Files))
		}
		checkFile(t, m.Files[0], first)
		checkFile(t, m.Files[n-1], last)
		for _, fd := range m.Files[1 : n-1] {
			checkFile(t, fd, other)
		}
		m.CloseFiles()
		if m.Files != nil {
			t.Error("descriptors that were closed are still given")
		}
	}
	for _, m := range []*mark{first, last, other} {
		m.checkEnded(t)
	}
}

func checkFile(t testing.TB, fd int, m *mark) {
	t.Helper()
	text := fmt.Sprint("through ", fd)
	if _, err := syscall.Write(fd, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if got, _ := m.written(t); got != text {
		t.Fatalf("descriptor %d is not the one that was sent", fd)
	}
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
	if errno != 0 || flags&syscall.FD_CLOEXEC == 0 {
		t.Fatalf("descriptor %d is not CLOEXEC: %v", fd, errno)
	}
	flags, _, errno = syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFL, 0)
	if errno != 0 || flags&syscall.O_NONBLOCK == 0 {
		t.Fatalf("descriptor %d is not NONBLOCK any more: %v", fd, errno)
	}
}

// TestBackToBack has several messages with and without descriptors in the socket before the first is read: each gets its own.
func TestBackToBack(t *testing.T) {
	near, far := socketpair(t)
	a, b := New(near), New(far)
	marks := []*mark{newMark(t), newMark(t)}
	send := func(kind Kind, files ...int) {
		t.Helper()
		if err := a.Send(kind, note{Text: kind.String()}, files...); err != nil {
			t.Fatal(err)
		}
	}
	send(Batch, marks[0].write)
	send(Batch, marks[1].write)
	send(Go)
	send(Batch, repeated(marks[0].write, sysutil.MaxPassed+1)...)
	send(Ack)
	send(Counters)
	send(Over, marks[1].write)
	for _, want := range []struct {
		kind  Kind
		files int
		of    *mark
	}{{Batch, 1, marks[0]}, {Batch, 1, marks[1]}, {Go, 0, nil}, {Batch, sysutil.MaxPassed + 1, marks[0]}, {Ack, 0, nil},
		{Counters, 0, nil}, {Over, 1, marks[1]}} {
		m, err := b.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if m.Kind != want.kind || len(m.Files) != want.files {
			t.Fatalf("%v with %d descriptors; want %v with %d", m.Kind, len(m.Files), want.kind, want.files)
		}
		for _, fd := range m.Files {
			checkFile(t, fd, want.of)
		}
		m.CloseFiles()
	}
	marks[0].checkEnded(t)
	marks[1].checkEnded(t)
}
