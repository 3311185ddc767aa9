package handoff

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"sluice/sysutil"
)

// A Conn is a connection between the two processes. One goroutine may send while another one receives, and any may set the
// deadline or close.
type Conn struct {
	c          *net.UnixConn
	cannotSend error // what ended sending: behind a part of a message nobody would find the next one

	receiving     sync.Mutex // held while a message comes in; guards what follows
	coming        assembly
	cannotReceive error // what ended receiving
}

// New returns a Conn on a connection of the type stream and takes it over. Nothing that the peer sent may have been read
// ahead: descriptors are lost by that.
func New(c *net.UnixConn) *Conn { return &Conn{c: c} }

// SetDeadline bounds what is under way and what comes, to send and to receive; zero means no bound.
func (c *Conn) SetDeadline(t time.Time) error { return c.c.SetDeadline(t) }

// Close closes the connection. Descriptors that came and were not received are closed.
func (c *Conn) Close() error {
	err := c.c.Close() // which ends a Receive
	c.receiving.Lock()
	defer c.receiving.Unlock()
	c.coming.close()
	if c.cannotReceive == nil {
		c.cannotReceive = net.ErrClosed
	}
	return err
}

// Peer is the process at the other end.
type Peer = sysutil.Peer

// Peer returns who connected; to the one who connects, who called listen(2). See sysutil.PeerProcess.
func (c *Conn) Peer() (peer Peer, err error) {
	raw, err := c.c.SyscallConn()
	if err == nil {
		closed := raw.Control(func(fd uintptr) { peer, err = sysutil.PeerProcess(int(fd)) })
		err = errors.Join(closed, err)
	}
	if err != nil {
		return peer, fmt.Errorf("ask for the peer: %w", err)
	}
	return peer, nil
}

// PeerPIDFile returns a pidfd, CLOEXEC, of the process of Peer.
func (c *Conn) PeerPIDFile() (fd int, err error) {
	raw, err := c.c.SyscallConn()
	if err != nil {
		return -1, err
	}
	if closed := raw.Control(func(of uintptr) { fd, err = sysutil.PeerPIDFile(int(of)) }); closed != nil {
		return -1, closed
	}
	return fd, err
}

// isTimeout reports whether a deadline has passed.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
