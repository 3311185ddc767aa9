package handoff

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/sysutil"
	"sluice/sysutil/systest"
)

// TestLargeBodyWithFiles has the kernel take a frame in many parts: its descriptors go with the first alone.
func TestLargeBodyWithFiles(t *testing.T) {
	near, far := socketpair(t)
	m := newMark(t)
	text := strings.Repeat("0123456789", 400_000)
	got := pass(t, New(near), New(far), Batch, text, repeated(m.write, sysutil.MaxPassed+7)...)
	var back string
	if err := got.Decode(&back); err != nil || back != text || len(got.Files) != sysutil.MaxPassed+7 {
		t.Errorf("%d bytes with %d descriptors, %v", len(back), len(got.Files), err)
	}
	got.CloseFiles()
	m.checkEnded(t)
}

// TestPromise has a header promise what does not come: no memory is taken for it.
func TestPromise(t *testing.T) {
	near, far := socketpair(t)
	sendRaw(t, near, rawFrame(frame{kind: Accounts, size: MaxBody}, "{"))
	near.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := New(far).Receive(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 8*leastPart {
		t.Errorf("%d bytes were taken for one that came", took)
	}
}

// TestSendDeadline lets a deadline pass while nobody reads: in a message, and before one.
func TestSendDeadline(t *testing.T) {
	near, far := socketpair(t)
	a := New(near)
	m := newMark(t)
	if err := a.SetDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := a.Send(Batch, nil, m.write); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("before a byte: %v", err)
	}
	if err := a.SetDeadline(time.Now().Add(patient)); err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() { sent <- a.Send(Batch, strings.Repeat("x", 8<<20), m.write) }()
	if !systest.Wait(patient, func() bool { return unread(t, far) > 0 }) {
		t.Fatal("nothing was sent")
	}
	if err := a.SetDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	err := <-sent
	if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.HasPrefix(err.Error(), "send batch: ") {
		t.Errorf("in the middle: %v", err)
	}
	if err := a.SetDeadline(time.Now().Add(patient)); err != nil {
		t.Fatal(err)
	}
	if again := a.Send(Go, nil); again != err {
		t.Errorf("then %v", again)
	}
	// The other direction goes on: whoever could not send may hear why.
	if err := New(far).Send(Failed, PeerError{Text: "busy"}); err != nil {
		t.Fatal(err)
	}
	var why *PeerError
	if _, err := a.Expect(Ack); !errors.As(err, &why) || why.Text != "busy" {
		t.Errorf("the peer said %v", err)
	}
	far.Close() // with what was not read
	m.checkEnded(t)
}

// TestSendToNobody sends to a peer that has gone, before and in the middle of a message.
func TestSendToNobody(t *testing.T) {
	near, far := socketpair(t)
	a := New(near)
	m := newMark(t)
	sent := make(chan error, 1)
	go func() { sent <- a.Send(State, strings.Repeat("x", 8<<20), m.write) }()
	if !systest.Wait(patient, func() bool { return unread(t, far) > 0 }) {
		t.Fatal("nothing was sent")
	}
	far.Close()
	if err := <-sent; !errors.Is(err, syscall.EPIPE) {
		t.Errorf("in the middle: %v", err)
	}
	near, far = socketpair(t)
	far.Close()
	if err := New(near).Send(State, nil, m.write); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("before: %v", err)
	}
	m.checkEnded(t)
}

// TestSendClosedFile sends a number that is no descriptor: nothing is sent, and the reason can be.
func TestSendClosedFile(t *testing.T) {
	near, far := socketpair(t)
	a := New(near)
	if err := a.Send(Batch, nil, 1<<20); !errors.Is(err, syscall.EBADF) {
		t.Error(err)
	}
	if m := pass(t, a, New(far), Failed, PeerError{Text: "bad"}); m.Kind != Failed {
		t.Errorf("%v came", m.Kind)
	}
}

// TestNoDescriptorsLeft receives more descriptors than this process may have: an error, those that came are closed, and
// those that did not are too.
func TestNoDescriptorsLeft(t *testing.T) {
	for _, room := range []int{0, 1, 5, 99} {
		near, far := socketpair(t)
		m := newMark(t)
		if err := New(near).Send(Batch, nil, repeated(m.write, 100)...); err != nil {
			t.Fatal(err)
		}
		before := systest.OpenFiles()
		c := New(far)
		err := withRoom(t, room, func() error { _, err := c.Receive(); return err })
		if !errors.Is(err, sysutil.ErrNotPassed) || !strings.Contains(err.Error(), fmt.Sprintf("but for %d, is RLIMIT_NOFILE", room)) {
			t.Fatalf("with room for %d: %v", room, err)
		}
		if left := systest.LeftFiles(before, patient); len(left) > 0 {
			t.Errorf("with room for %d: descriptors left open: %v", room, left)
		}
		if _, again := c.Receive(); fmt.Sprint(again) != err.Error() {
			t.Errorf("then %v", again)
		}
		if err := c.Send(Failed, PeerError{Text: err.Error()}); err != nil {
			t.Errorf("the reason cannot be told: %v", err)
		}
		m.checkEnded(t)
	}
}

// withRoom calls f while n more descriptors can be opened.
func withRoom(t *testing.T, n int, f func() error) error {
	t.Helper()
	lowest, err := syscall.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.Close(lowest)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	low := syscall.Rlimit{Cur: uint64(lowest + n), Max: limit.Max} // all below lowest are taken
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	return f()
}
