package handoff

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"sluice/sysutil"
	"sluice/sysutil/systest"
)

// twoFrames is a message of two frames with descriptors, and where the second begins.
func twoFrames() (b []byte, second int) {
	b = rawFrame(frame{kind: Batch, files: 2, size: 3, more: 1}, `{"n`)
	second = len(b)
	return append(b, rawFrame(frame{kind: Batch, files: 1, size: 5}, `":42}`)...), second
}

// sendCut sends the first n bytes of twoFrames with the descriptors that belong to them.
func sendCut(t *testing.T, c *net.UnixConn, m *mark, n int) {
	t.Helper()
	b, second := twoFrames()
	if n > 0 {
		sendRaw(t, c, b[:min(n, second)], repeated(m.write, 2)...)
	}
	if n > second {
		sendRaw(t, c, b[second:n], m.write)
	}
}

// TestCut ends the connection behind every byte of a message.
func TestCut(t *testing.T) {
	b, _ := twoFrames()
	for n := range b {
		near, far := socketpair(t)
		m := newMark(t)
		sendCut(t, near, m, n)
		near.Close()
		_, err := New(far).Receive()
		if n == 0 && err != io.EOF || n > 0 && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d: %v", n, err)
		}
		m.checkEnded(t)
	}
}

// TestPeerDoesNotListen has a peer close with a message unread, behind every byte of one of its own: what it said before
// is received, and the end is the end.
func TestPeerDoesNotListen(t *testing.T) {
	b, _ := twoFrames()
	for n := range b {
		near, far := socketpair(t)
		m := newMark(t)
		c := New(far)
		if err := c.Send(Ack, nil, m.write); err != nil {
			t.Fatal(err)
		}
		if err := New(near).Send(Go, nil); err != nil {
			t.Fatal(err)
		}
		sendCut(t, near, m, n)
		near.Close()
		if _, err := c.Expect(Go); err != nil {
			t.Errorf("what came before: %v", err)
		}
		for range 2 {
			if _, err := c.Receive(); n == 0 && err != io.EOF || n > 0 && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("closed after %d: %v", n, err)
			}
		}
		m.checkEnded(t)
	}
}

// TestDeadline lets a deadline pass behind every byte of a message. The rest can come later.
func TestDeadline(t *testing.T) {
	b, second := twoFrames()
	for n := range b {
		near, far := socketpair(t)
		m := newMark(t)
		c := New(far)
		sendCut(t, near, m, n)
		receiveUntilRead(t, c, n)
		if n == 0 {
			sendRaw(t, near, b[:1], repeated(m.write, 2)...)
		}
		if start := max(n, 1); start < second {
			sendRaw(t, near, b[start:second])
			receiveUntilRead(t, c, second) // a deadline again
		}
		if n <= second {
			sendRaw(t, near, b[second:], m.write)
		} else {
			sendRaw(t, near, b[n:])
		}
		got, err := c.Receive()
		if err != nil || got.Kind != Batch || string(got.Body) != `{"n":42}` || len(got.Files) != 3 {
			t.Fatalf("after %d: %+v, %v", n, got, err)
		}
		for _, fd := range got.Files {
			checkFile(t, fd, m)
		}
		got.CloseFiles()
		c.Close()
		m.checkEnded(t)
	}
}

// TestCloseInTheMiddle closes a connection behind every byte of a message whose deadline has passed, and while one is
// waited for.
func TestCloseInTheMiddle(t *testing.T) {
	b, _ := twoFrames()
	for n := range b {
		near, far := socketpair(t)
		m := newMark(t)
		c := New(far)
		sendCut(t, near, m, n)
		receiveUntilRead(t, c, n)
		if n%2 == 0 {
			c.Close()
		} else {
			go c.Close()
		}
		for range 2 {
			if _, err := c.Receive(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("after %d: %v", n, err)
			}
		}
		m.checkEnded(t)
	}
}

// receiveUntilRead has Receive take all that lies in the socket, lets its deadline pass, and takes it back.
func receiveUntilRead(t *testing.T, c *Conn, n int) {
	t.Helper()
	received := make(chan error, 1)
	go func() {
		_, err := c.Receive()
		received <- err
	}()
	if !systest.Wait(patient, func() bool { return unread(t, c.c) == 0 }) {
		t.Fatalf("%d bytes were not read", n)
	}
	if err := c.SetDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := <-received; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("after %d: %v", n, err)
	}
	if err := c.SetDeadline(time.Now().Add(patient)); err != nil {
		t.Fatal(err)
	}
}

// unread is how many bytes lie in a socket. See FIONREAD in unix(7).
func unread(t *testing.T, c *net.UnixConn) (n int32) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCINQ, uintptr(unsafe.Pointer(&n))); errno != 0 {
			t.Fatal(errno)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestByteByByte sends every byte on its own: descriptors come with the first of their header.
func TestByteByByte(t *testing.T) {
	near, far := socketpair(t)
	m := newMark(t)
	go func() {
		b, second := twoFrames()
		for i := range b {
			files := map[int]int{0: 2, second: 1}[i]
			if _, err := sysutil.SendFiles(near, b[i:i+1], repeated(m.write, files)); err != nil {
				t.Error(err)
			}
		}
	}()
	got, err := New(far).Receive()
	if err != nil || string(got.Body) != `{"n":42}` || len(got.Files) != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, fd := range got.Files {
		checkFile(t, fd, m)
	}
	got.CloseFiles()
	m.checkEnded(t)
}
