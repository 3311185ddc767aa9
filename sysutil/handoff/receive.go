package handoff

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"sluice/sysutil"
)

// Receive returns the next message. At the end of the connection between two messages the error is io.EOF. Any error but
// a deadline between two messages is the end of receiving. With an error nothing is left open.
func (c *Conn) Receive() (*Message, error) { return c.receive() }

// Expect is Receive for when only some kinds may come. Another one is an error that names both. Refused and Failed come
// as a *PeerError, expected or not.
func (c *Conn) Expect(expected ...Kind) (*Message, error) {
	m, err := c.receive(expected...)
	if err != nil {
		return nil, err
	}
	if m.Kind != Refused && m.Kind != Failed {
		if slices.Contains(expected, m.Kind) {
			return m, nil
		}
		m.CloseFiles()
		return nil, fmt.Errorf("%w: expected %s, and %v came", ErrFrame, names(expected), m.Kind)
	}
	m.CloseFiles()
	why := &PeerError{Kind: m.Kind}
	if err := m.Decode(why); err != nil {
		return nil, err
	}
	return nil, why
}

func names(kinds []Kind) string {
	words := make([]string, len(kinds))
	for i, k := range kinds {
		words[i] = k.String()
	}
	return strings.Join(words, " or ")
}

func (c *Conn) receive(expected ...Kind) (*Message, error) {
	point("receive", expected...)
	if c.cannotReceive != nil {
		return nil, c.cannotReceive
	}
	a := assembly{c: c}
	err := a.read()
	if err == nil {
		point("received", a.m.Kind)
		return &a.m, nil
	}
	a.close()
	if err != io.EOF {
		err = fmt.Errorf("receive %s: %w", a.name(expected), err)
	}
	if a.began || !isTimeout(err) {
		c.cannotReceive = err
	}
	return nil, err
}

// An assembly is a message that is coming in.
type assembly struct {
	c     *Conn
	m     Message
	files []int // came with the header that is being read
	began bool  // at least one byte is here
}

// name says what has come, or else what was to come.
func (a *assembly) name(expected []Kind) string {
	switch {
	case a.m.Kind != 0:
		return a.m.Kind.String()
	case len(expected) > 0:
		return names(expected)
	}
	return "message"
}

func (a *assembly) close() {
	sysutil.CloseFiles(a.files)
	a.m.CloseFiles()
}

// read reads frames until the message is whole.
func (a *assembly) read() error {
	last, err := a.readFrame()
	a.m.Kind = last.kind
	for err == nil && last.more > 0 {
		var next frame
		if next, err = a.readFrame(); err == nil {
			err = next.follows(last)
		}
		last = next
	}
	return err
}

// readFrame reads one and adds it to the message.
func (a *assembly) readFrame() (frame, error) {
	var header [headerSize]byte
	if err := a.fill(header[:], sysutil.MaxPassed); err != nil {
		return frame{}, err
	}
	f, err := parseFrame(&header)
	switch {
	case err != nil:
		return f, err
	case f.files != len(a.files):
		return f, fmt.Errorf("%w: %v has %d descriptors, and %d came", ErrFrame, f.kind, f.files, len(a.files))
	case len(a.m.Files)+f.files > MaxFiles:
		return f, fmt.Errorf("%w: %v has more than %d descriptors", ErrFrame, f.kind, MaxFiles)
	case len(a.m.Body)+f.size > MaxBody:
		return f, fmt.Errorf("%w: %v has more than %d bytes", ErrFrame, f.kind, MaxBody)
	}
	a.m.Files, a.files = append(a.m.Files, a.files...), nil
	return f, a.readBody(f.size)
}

// leastPart is the size of the first read of a body. What a header promises is not believed: memory is taken as bytes
// come, at most as much again.
const leastPart = 64 << 10

func (a *assembly) readBody(left int) error {
	for left > 0 {
		start := len(a.m.Body)
		part := min(left, max(start, leastPart))
		a.m.Body = slices.Grow(a.m.Body, part)[:start+part]
		if err := a.fill(a.m.Body[start:], 0); err != nil {
			return err
		}
		left -= part
	}
	return nil
}

// fill reads len(b) bytes and not one more. Up to most descriptors may come with them; they are put aside.
func (a *assembly) fill(b []byte, most int) error {
	for len(b) > 0 {
		n, files, err := sysutil.ReceiveFiles(a.c.c, b, a.files)
		switch {
		case errors.Is(err, io.EOF) && a.began:
			return io.ErrUnexpectedEOF
		case errors.Is(err, io.EOF):
			return io.EOF
		case err != nil:
			return err
		}
		a.began, a.files, b = true, files, b[n:]
		if len(files) > most {
			return fmt.Errorf("%w: descriptors came where at most %d may", ErrFrame, most)
		}
	}
	return nil
}
