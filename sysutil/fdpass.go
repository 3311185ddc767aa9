package sysutil

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// MaxPassed is how many descriptors one call may pass: SCM_MAX_FD of the kernel, see unix(7).
const MaxPassed = 253

// ErrNotPassed means that descriptors got lost between two processes.
var ErrNotPassed = errors.New("descriptors did not arrive")

// SendFiles writes all of b, which must not be empty, to a stream socket, and returns how much of it the kernel took. The
// descriptors, at most MaxPassed, go with its first byte and stay the caller's. It heeds the deadline of c.
func SendFiles(c *net.UnixConn, b []byte, files []int) (n int, err error) {
	if len(files) > 0 {
		n, _, err = c.WriteMsgUnix(b, syscall.UnixRights(files...), nil)
		switch {
		case errors.Is(err, syscall.ETOOMANYREFS):
			return 0, fmt.Errorf("more descriptors of this user than RLIMIT_NOFILE are on their way in Unix sockets: %w", err)
		case err != nil:
			return 0, err
		}
	}
	if n < len(b) { // the kernel took less; a Write goes on until it has all
		var more int
		more, err = c.Write(b[n:])
		n += more
	}
	return n, err
}

// ReceiveFiles reads up to len(b) bytes from a stream socket and appends the descriptors that came with them, which are
// CLOEXEC from birth, to files. The kernel ends a read behind the bytes that carried descriptors, but may put bytes before
// them that carried none: whoever wants to know what descriptors belong to asks for no byte beyond it. With an error
// nothing is appended, and what came is closed. It heeds the deadline of c.
func ReceiveFiles(c *net.UnixConn, b []byte, files []int) (n int, all []int, err error) {
	control := make([]byte, syscall.CmsgSpace(MaxPassed*4))
	n, size, flags, _, err := c.ReadMsgUnix(b, control) // with MSG_CMSG_CLOEXEC
	if err != nil {
		return 0, files, err
	}
	came, err := passedFiles(control[:size])
	if err == nil && flags&syscall.MSG_CTRUNC != 0 {
		err = fmt.Errorf("%w but for %d, is RLIMIT_NOFILE reached?", ErrNotPassed, len(came))
	}
	if err != nil {
		CloseFiles(came)
		return 0, files, err
	}
	return n, append(files, came...), nil
}

// passedFiles returns the descriptors in control data, also with an error.
func passedFiles(control []byte) (files []int, err error) {
	if len(control) == 0 {
		return nil, nil
	}
	messages, err := syscall.ParseSocketControlMessage(control)
	for _, m := range messages {
		if m.Header.Level != syscall.SOL_SOCKET || m.Header.Type != syscall.SCM_RIGHTS {
			continue
		}
		some, wrong := syscall.ParseUnixRights(&m)
		files, err = append(files, some...), errors.Join(err, wrong)
	}
	return files, err
}

// CloseFiles closes descriptors.
func CloseFiles(files []int) {
	for _, fd := range files {
		_ = syscall.Close(fd)
	}
}
