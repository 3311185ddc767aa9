package l4

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"syscall"
	"time"

	"sluice/pool"
)

// A conn is a TCP or a Unix connection.
type conn interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
	SetReadBuffer(int) error
	SetWriteBuffer(int) error
}

// address is where the first bound address of the rig's listener is.
func (r *rig) address() pool.Address { return (*r.srv.listeners()[0].sockets.Load())[0].bound }

// dial opens a client connection. The loop has not seen it yet.
func (r *rig) dial() conn {
	r.t.Helper()
	address := r.address()
	to := address.TCP.String()
	if address.IsUnix() {
		to = address.Unix
	}
	c, err := net.Dial(address.Network(), to)
	if err != nil {
		r.t.Fatal(err)
	}
	r.dialled = append(r.dialled, r.keep(c))
	return r.dialled[len(r.dialled)-1]
}

// keep closes a connection with the test and bounds everything done to it.
func (r *rig) keep(c net.Conn) conn {
	c.SetDeadline(time.Now().Add(patient))
	r.t.Cleanup(func() { c.Close() })
	return c.(conn)
}

// accept takes the next connection at the rig's backend.
func (r *rig) accept() conn {
	r.t.Helper()
	return r.acceptFrom(r.backend)
}

func (r *rig) acceptFrom(listener net.Listener) conn {
	r.t.Helper()
	var c net.Conn
	listener.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(patient))
	r.while("accept at the backend", func() (err error) {
		c, err = listener.Accept()
		return err
	})
	return r.keep(c)
}

// pair opens a session and returns the other ends of it, by side.
func (r *rig) pair() (ends [2]conn) {
	r.t.Helper()
	ends[client] = r.dial()
	ends[server] = r.accept()
	r.until("the session relays", func() bool { return r.newest() != nil && r.newest().state == stateRelaying })
	return ends
}

// newest is the open session that was accepted last.
func (r *rig) newest() (newest *session) {
	r.loop.sessions.each(func(s *session) {
		if newest == nil || s.id > newest.id {
			newest = s
		}
	})
	return newest
}

// write sends all of data.
func (r *rig) write(c conn, data []byte) {
	r.t.Helper()
	r.while("write", func() error {
		_, err := c.Write(data)
		return err
	})
}

// expect reads exactly what is wanted.
func (r *rig) expect(c conn, want []byte) {
	r.t.Helper()
	got := make([]byte, len(want))
	r.while(fmt.Sprintf("read %d bytes", len(want)), func() error {
		_, err := io.ReadFull(c, got)
		return err
	})
	if !bytes.Equal(got, want) {
		r.t.Fatalf("read %s, want %s", brief(got), brief(want))
	}
}

func brief(data []byte) string {
	if len(data) > 40 {
		return fmt.Sprintf("%d bytes %q...", len(data), data[:40])
	}
	return fmt.Sprintf("%q", data)
}

// rest reads until the connection ends and returns what came and how it ended.
func (r *rig) rest(c conn) (data []byte, end error) {
	r.t.Helper()
	r.while("read to the end", func() error {
		data, end = io.ReadAll(c)
		return nil
	})
	return data, end
}

// expectFIN checks that a connection ends, after nothing more, with FIN.
func (r *rig) expectFIN(c conn) {
	r.t.Helper()
	if data, err := r.rest(c); err != nil || len(data) > 0 {
		r.t.Fatalf("read %s, %v; want a FIN", brief(data), err)
	}
}

// expectEnd waits for the next session to end and checks why it did.
func (r *rig) expectEnd(want Reason) End {
	r.t.Helper()
	r.until("a session ends", func() bool { return len(r.ended) > r.checked })
	end := r.ended[r.checked]
	r.checked++
	if end.Reason != want {
		r.t.Fatalf("the session ended with %v (%v), want %v", end.Reason, end.Errno, want)
	}
	return end
}

// expectLeft waits for the end of a session whose client has reset its connection, which is clean when it had neither
// sent nor got anything.
func (r *rig) expectLeft() End {
	r.t.Helper()
	r.until("a session ends", func() bool { return len(r.ended) > r.checked })
	if r.ended[r.checked].Reason == ClientClosed {
		return r.expectEnd(ClientClosed)
	}
	return r.expectEnd(ClientReset)
}

// reset closes a TCP connection with RST.
func reset(c conn) {
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// random returns n bytes that no offset error leaves unseen.
func random(seed byte, n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}
