package e2e

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"sluice/sysutil/systest"
)

// A server takes the connections of one scenario on one way.
type server struct {
	scenario scenario
	address  string
	listener *net.TCPListener // nil = its process has exited
}

func newServer(t *testing.T, s scenario) *server {
	t.Helper()
	v := &server{scenario: s, address: fmt.Sprintf("127.0.0.1:%d", systest.ReservePort(t))}
	if err := v.listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.exit)
	return v
}

// listen listens if it does not.
func (v *server) listen() error {
	if v.listener != nil {
		return nil
	}
	config := net.ListenConfig{Control: v.scenario.tune}
	l, err := config.Listen(context.Background(), "tcp", v.address)
	if err != nil {
		return err
	}
	v.listener = l.(*net.TCPListener)
	return nil
}

// exit closes the listening socket, as the end of a process does.
func (v *server) exit() {
	if v.listener != nil {
		v.listener.Close()
		v.listener = nil
	}
}

// accept returns the connection of the client.
func (v *server) accept() (*net.TCPConn, error) {
	v.listener.SetDeadline(time.Now().Add(2 * patient))
	return v.listener.AcceptTCP()
}

// acceptKnocking is accept where checks come as well. They send nothing; the client does, and p takes its first byte.
func (v *server) acceptKnocking(p *peer) (*net.TCPConn, error) {
	for {
		c, err := v.accept()
		if err != nil {
			return nil, err
		}
		c.SetDeadline(time.Now().Add(2 * patient))
		data := make([]byte, 1)
		if n, err := c.Read(data); n == 1 {
			p.take(data, err)
			return c, nil
		}
		c.Close()
	}
}

// serve plays the server's part of a scenario.
func (v *server) serve(p *peer) error {
	defer p.over.Store(true)
	accept := v.accept
	if v.scenario.exits {
		accept = func() (*net.TCPConn, error) { return v.acceptKnocking(p) }
	}
	c, err := accept()
	if err != nil {
		return err
	}
	p.act(c, v.scenario.server)
	if v.scenario.exits {
		v.exit()
	}
	return nil
}

// tune makes the sockets of slow peers those of a network: on loopback a segment is 64 KiB, and a peer that reads 20 KiB/s
// would acknowledge one every few seconds.
func (s scenario) tune(_, _ string, raw syscall.RawConn) (err error) {
	if !s.slow {
		return nil
	}
	control := raw.Control(func(fd uintptr) {
		if err = syscall.SetsockoptInt(int(fd), syscall.SOL_TCP, syscall.TCP_MAXSEG, 1448); err == nil {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 8*kib)
		}
	})
	if control != nil {
		return control
	}
	return err
}
