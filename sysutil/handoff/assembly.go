package handoff

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"

	"sluice/sysutil"
)

// An assembly is a message that is coming in. Reading it can stop anywhere and go on.
type assembly struct {
	m      Message // all frames before the one that is being read, and what has come of its body
	header [headerSize]byte
	filled int   // bytes of header that are here
	files  []int // came with them
	last   frame // what the last header that was whole says; its kind is 0 before the first
	left   int   // bytes of its body that are not here
}

func (a *assembly) close() {
	sysutil.CloseFiles(a.files)
	a.files = nil
	a.m.CloseFiles()
}

// read reads frames until the message is whole.
func (a *assembly) read(c *net.UnixConn) error {
	for {
		if err := a.readHeader(c); err != nil {
			return err
		}
		if err := a.readBody(c); err != nil {
			return err
		}
		if a.last.more == 0 {
			return nil
		}
		a.filled = 0
	}
}

func (a *assembly) readHeader(c *net.UnixConn) error {
	if a.filled == headerSize {
		return nil // it was read before a deadline passed
	}
	for a.filled < headerSize {
		n, err := a.receive(c, a.header[a.filled:], sysutil.MaxPassed)
		if err != nil {
			return err
		}
		a.filled += n
	}
	f, err := parseFrame(&a.header)
	if err == nil {
		err = a.check(f)
	}
	if err != nil {
		return err
	}
	a.m.Kind, a.m.Files, a.files = f.kind, append(a.m.Files, a.files...), nil
	a.last, a.left = f, f.size
	return nil
}

// check says what is wrong with a frame of this message.
func (a *assembly) check(f frame) error {
	switch {
	case a.last.kind != 0 && (f.kind != a.last.kind || f.more != a.last.more-1):
		return fmt.Errorf("%w: %v with %d frames to come behind %v with %d", ErrFrame, f.kind, f.more, a.last.kind, a.last.more)
	case f.files != len(a.files):
		return fmt.Errorf("%w: %v has %d descriptors, and %d came", ErrFrame, f.kind, f.files, len(a.files))
	case len(a.m.Files)+f.files > MaxFiles:
		return fmt.Errorf("%w: %v has more than %d descriptors", ErrFrame, f.kind, MaxFiles)
	case len(a.m.Body)+f.size > MaxBody:
		return fmt.Errorf("%w: %v has more than %d bytes", ErrFrame, f.kind, MaxBody)
	}
	return nil
}

// leastPart is the least memory that a body is given. What a header promises is not believed: as bytes come, it is given
// as much again.
const leastPart = 64 << 10

func (a *assembly) readBody(c *net.UnixConn) error {
	for a.left > 0 {
		start := len(a.m.Body)
		if start == cap(a.m.Body) {
			a.m.Body = slices.Grow(a.m.Body, min(a.left, max(start, leastPart)))
		}
		end := min(start+a.left, cap(a.m.Body))
		n, err := a.receive(c, a.m.Body[start:end], 0)
		if err != nil {
			return err
		}
		a.m.Body = a.m.Body[:start+n]
		a.left -= n
	}
	return nil
}

// receive reads into b, and puts the descriptors that come aside; there may be up to most.
func (a *assembly) receive(c *net.UnixConn, b []byte, most int) (n int, err error) {
	n, a.files, err = sysutil.ReceiveFiles(c, b, a.files)
	// A Unix socket says ECONNRESET once all was read and the peer closed without reading all that was sent to it.
	ended := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
	switch {
	case ended && a.filled == 0 && a.last.kind == 0:
		return 0, io.EOF
	case ended:
		return 0, io.ErrUnexpectedEOF
	case err == nil && len(a.files) > most:
		return 0, fmt.Errorf("%w: descriptors came where at most %d may", ErrFrame, most)
	}
	return n, err
}
