package handoff

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"sluice/sysutil"
)

// A Conn is a connection between the two processes. One goroutine may send while another one receives.
type Conn struct {
	c *net.UnixConn
	// What ended each direction in the middle of a message: there is no way to find the start of the next one.
	cannotSend, cannotReceive error
}

// New returns a Conn on a connection of the type stream and takes it over. Nothing that the peer sent may have been read
// ahead: descriptors are lost by that.
func New(c *net.UnixConn) *Conn { return &Conn{c: c} }

// SetDeadline bounds what is under way and what comes; zero means no bound. Where it ends a Receive between two messages
// (errors.Is os.ErrDeadlineExceeded), the next Receive goes on; in the middle of a message it ends the connection.
func (c *Conn) SetDeadline(t time.Time) error { return c.c.SetDeadline(t) }

// Close closes the connection. Descriptors that lie in it unread are closed by the kernel.
func (c *Conn) Close() error { return c.c.Close() }

// Peer is the process at the other end.
type Peer = sysutil.Peer

// Peer returns who connected; to the one who connects, who called listen(2). See sysutil.PeerProcess.
func (c *Conn) Peer() (peer Peer, err error) {
	raw, err := c.c.SyscallConn()
	if err == nil {
		err = errors.Join(raw.Control(func(fd uintptr) { peer, err = sysutil.PeerProcess(int(fd)) }), err)
	}
	if err != nil {
		return peer, fmt.Errorf("ask for the peer: %w", err)
	}
	return peer, nil
}

// PIDFile returns a pidfd of this process, CLOEXEC.
func PIDFile() (fd int, err error) { return sysutil.PIDFile() }

// Exited reports whether the process of a pidfd has ended, or ends within wait.
func Exited(pidfd int, wait time.Duration) bool { return sysutil.Exited(pidfd, wait) }

// isTimeout reports whether a deadline has passed.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
