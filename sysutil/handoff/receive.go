package handoff

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Receive returns the next message. At the end of the connection between two messages the error is io.EOF. A deadline that
// passes (errors.Is os.ErrDeadlineExceeded) loses nothing: the next Receive goes on, also in the middle of a message. Any
// other error is the end of receiving, and what had come of the message is closed.
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

func (c *Conn) receive(expected ...Kind) (*Message, error) {
	c.point("receive", expected...)
	m, err := c.next()
	switch {
	case err == nil:
		c.point("received", m.Kind)
	case err != io.EOF:
		err = fmt.Errorf("receive %s: %w", names(expected), err)
	}
	return m, err
}

// next reads on until a message is whole.
func (c *Conn) next() (*Message, error) {
	c.receiving.Lock()
	defer c.receiving.Unlock()
	if c.cannotReceive != nil {
		return nil, c.cannotReceive
	}
	err := c.coming.read(c.c)
	if err == nil {
		m := c.coming.m
		c.coming = assembly{}
		return &m, nil
	}
	if !isTimeout(err) {
		c.cannotReceive = err
		c.coming.close()
	}
	return nil, err
}

func names(kinds []Kind) string {
	if len(kinds) == 0 {
		return "message"
	}
	words := make([]string, len(kinds))
	for i, k := range kinds {
		words[i] = k.String()
	}
	return strings.Join(words, " or ")
}
