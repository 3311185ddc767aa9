package handoff

import (
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"sluice/sysutil"
	"sluice/sysutil/systest"
)

// TestMain fails the run when a descriptor is left over.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleKey); role != "" {
		os.Exit(roles[role]())
	}
	before := systest.OpenFiles()
	code := m.Run()
	if left := systest.LeftFiles(before, patient); len(left) > 0 && code == 0 {
		fmt.Fprintf(os.Stderr, "descriptors left open: %v\n", left)
		code = 1
	}
	os.Exit(code)
}

// patient is how long a test waits for what must happen.
const patient = time.Minute

// socketpair returns both ends of a stream, which are closed at the end of the test.
func socketpair(t testing.TB) (near, far *net.UnixConn) {
	t.Helper()
	near, far, err := openPair()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*net.UnixConn{near, far} {
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(patient)); err != nil {
			t.Fatal(err)
		}
	}
	return near, far
}

func openPair() (near, far *net.UnixConn, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "socketpair")
		c, wrong := net.FileConn(file)
		file.Close()
		if wrong != nil {
			return nil, nil, wrong
		}
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1], nil
}

// A mark is a pipe: whoever has its write end can be told from others by what it writes, and one that was not closed by
// the kernel keeps the read end from ending.
type mark struct{ read, write int }

func newMark(t testing.TB) *mark {
	t.Helper()
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	m := &mark{fds[0], fds[1]}
	t.Cleanup(func() { m.closeWrite(); syscall.Close(m.read) })
	return m
}

func (m *mark) closeWrite() {
	if m.write >= 0 {
		syscall.Close(m.write)
		m.write = -1
	}
}

// written returns what lies in the pipe; ended says that nobody has the write end any more.
func (m *mark) written(t testing.TB) (text string, ended bool) {
	t.Helper()
	var b [64]byte
	n, err := syscall.Read(m.read, b[:])
	switch {
	case err == syscall.EAGAIN:
		return "", false
	case err != nil:
		t.Fatal(err)
	}
	return string(b[:n]), n == 0
}

// checkEnded fails the test if anybody, in this process or in a socket, still has the write end.
func (m *mark) checkEnded(t testing.TB) {
	t.Helper()
	m.closeWrite()
	if !systest.Wait(patient, func() bool { _, ended := m.written(t); return ended }) {
		t.Fatal("a descriptor is still open")
	}
}

// repeated is n times the same descriptor.
func repeated(fd, n int) []int { return slices.Repeat([]int{fd}, n) }

// rawFrame is a frame as it is on the wire.
func rawFrame(f frame, body string) []byte {
	b := make([]byte, headerSize, headerSize+len(body))
	f.put(b)
	return append(b, body...)
}

// piece is what one call writes.
type piece struct {
	bytes []byte
	files int
}

// sendRaw writes bytes and descriptors in one call.
func sendRaw(t testing.TB, c *net.UnixConn, b []byte, files ...int) {
	t.Helper()
	if _, err := sysutil.SendFiles(c, b, files); err != nil {
		t.Fatal(err)
	}
}
