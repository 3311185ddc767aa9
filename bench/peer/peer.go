package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

var (
	errNoConnection = errors.New("no connection")
	errNoListener   = errors.New("no listener")
)

// peer runs one script. It holds at most one listener and one connection.
type peer struct {
	report   func(line string)
	listener *net.TCPListener
	conn     *net.TCPConn
}

// run does the steps in order and ends with the first that fails. Whatever is open then is closed.
func (p *peer) run(script []step) error {
	defer p.release()
	for i, s := range script {
		said, err := p.do(s)
		if err != nil {
			return fmt.Errorf("step %d: %s: %w", i+1, s.verb, err)
		}
		p.report(s.verb + said)
	}
	return nil
}

func (p *peer) release() {
	if p.conn != nil {
		p.conn.Close()
	}
	if p.listener != nil {
		p.listener.Close()
	}
}

// do returns what is to be said about the step, after its verb.
func (p *peer) do(s step) (said string, err error) {
	switch s.verb {
	case "connect":
		return p.connect(s.word)
	case "listen":
		return p.listen(s.word)
	case "accept":
		return p.accept()
	case "pause":
		time.Sleep(s.pause)
		return " " + s.pause.String(), nil
	}
	if p.conn == nil {
		return "", errNoConnection
	}
	return p.talk(s)
}

// talk does the steps that need a connection.
func (p *peer) talk(s step) (said string, err error) {
	n := int64(s.count)
	switch s.verb {
	case "send":
		n, err = io.CopyN(p.conn, new(counting), n)
	case "text":
		var written int
		written, err = io.WriteString(p.conn, s.word)
		n = int64(written)
	case "recv":
		n, err = io.CopyN(io.Discard, p.conn, n)
	case "drain":
		n, err = io.Copy(io.Discard, p.conn)
	case "fin":
		return "", p.conn.CloseWrite()
	case "rst":
		if err := p.conn.SetLinger(0); err != nil {
			return "", err
		}
		return "", p.close()
	case "close":
		return "", p.close()
	}
	if err != nil {
		return "", fmt.Errorf("%w after %d bytes", err, n)
	}
	return fmt.Sprintf(" %d", n), nil
}

func (p *peer) connect(address string) (said string, err error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return "", err
	}
	return p.take(conn.(*net.TCPConn))
}

func (p *peer) listen(address string) (said string, err error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return "", err
	}
	if p.listener != nil {
		p.listener.Close()
	}
	p.listener = listener.(*net.TCPListener)
	return " " + listener.Addr().String(), nil
}

func (p *peer) accept() (said string, err error) {
	if p.listener == nil {
		return "", errNoListener
	}
	conn, err := p.listener.AcceptTCP()
	if err != nil {
		return "", err
	}
	return p.take(conn)
}

// take makes conn the current connection in place of one that is open.
func (p *peer) take(conn *net.TCPConn) (said string, err error) {
	if p.conn != nil {
		p.conn.Close()
	}
	p.conn = conn
	return fmt.Sprintf(" %v to %v", conn.LocalAddr(), conn.RemoteAddr()), nil
}

func (p *peer) close() error {
	conn := p.conn
	p.conn = nil
	return conn.Close()
}

// counting reads 0, 1, 2 ... 255, 0 ... for ever.
type counting struct{ next byte }

func (c *counting) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = c.next
		c.next++
	}
	return len(b), nil
}
