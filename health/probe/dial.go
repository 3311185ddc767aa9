package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"sluice/pool"
)

// dialer opens connections to the address that a probe asks.
type dialer struct {
	address pool.Address
	version uint8 // of the PROXY header; 0 = none
	net     net.Dialer
	sources []netip.Addr // to ask from, in turn; none = as the kernel chooses
	turn    atomic.Uint32
}

func newDialer(c Config, backend pool.Address) (*dialer, error) {
	if c.ProxyVersion > 2 {
		return nil, fmt.Errorf("PROXY header of version %d: want 1, 2 or 0 for none", c.ProxyVersion)
	}
	address, err := asked(c, backend)
	if err != nil {
		return nil, err
	}
	// No keep-alive: most connections do not live long enough for one, and the one that is kept is used every interval.
	return &dialer{
		address: address, version: c.ProxyVersion, net: net.Dialer{KeepAlive: -1}, sources: pool.SourcesFor(address, c.Sources),
	}, nil
}

// asked returns the address that is asked about a backend: its own unless the configuration has another host or port.
func asked(c Config, backend pool.Address) (pool.Address, error) {
	address := backend
	if c.Address != (pool.Address{}) {
		address = c.Address
	}
	if address.IsUnix() {
		if c.Port != 0 {
			return pool.Address{}, fmt.Errorf("port %d: %s has no ports", c.Port, address)
		}
		return address, nil
	}
	port := address.TCP.Port()
	if port == 0 {
		port = backend.TCP.Port() // 0 for a Unix socket
	}
	if c.Port != 0 {
		port = c.Port
	}
	address.TCP = netip.AddrPortFrom(address.TCP.Addr(), port)
	if !address.TCP.IsValid() || port == 0 {
		return pool.Address{}, errors.New("address to probe: want an IP and a port")
	}
	return address, nil
}

// dial connects. The PROXY header, if there is one, goes out with the first bytes that are written. What can be read is
// bounded: see takeMost.
func (d *dialer) dial(ctx context.Context) (net.Conn, error) {
	conn, err := d.connect(ctx, &d.net)
	if err != nil {
		return nil, err
	}
	if d.version == 0 {
		return newBounded(conn), nil
	}
	header, err := proxyHeader(d.version, conn)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &prefixed{Conn: newBounded(conn), prefix: header}, nil
}

// connect connects in the way of a net.Dialer. Its error, "dial tcp 10.0.0.1:80: connect: connection refused", says it
// all.
func (d *dialer) connect(ctx context.Context, by *net.Dialer) (net.Conn, error) {
	if d.address.IsUnix() {
		return d.connectUnix(ctx, by)
	}
	target := d.address.TCP.String()
	conn, err := d.connectTCP(ctx, by, target)
	if err != nil || conn.LocalAddr().String() != conn.RemoteAddr().String() {
		return conn, err
	}
	// The kernel chose the port that is asked as the connection's own, and so connected it to itself: nobody listens.
	// (net tries again when that happens, but only twice.) A reset leaves no TIME_WAIT, which would keep a server from
	// binding its port.
	reset(conn)
	return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: conn.RemoteAddr(),
		Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

// backlogPause is how long the queue of a Unix socket that is full gets to become shorter.
const backlogPause = 20 * time.Millisecond

// connectUnix waits for a full queue as a TCP connect does by itself: connect(2) answers EAGAIN. It gives up before ctx is
// done, so that nobody takes the error for a server that does not answer: see Local.
func (d *dialer) connectUnix(ctx context.Context, by *net.Dialer) (net.Conn, error) {
	for full := error(nil); ; {
		conn, err := by.DialContext(ctx, d.address.Network(), d.address.Unix)
		if pool.ObstacleOf(err) == pool.BacklogFull {
			full = err
		} else if err == nil || ctx.Err() == nil || full == nil {
			return conn, err
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < 2*backlogPause {
			return nil, full
		}
		select {
		case <-ctx.Done():
			return nil, full
		case <-time.After(backlogPause):
		}
	}
}

// host returns the IP that is asked, without a zone, or "" for a Unix socket: a certificate can be for it.
func (d *dialer) host() string {
	if d.address.IsUnix() {
		return ""
	}
	return d.address.TCP.Addr().Unmap().WithZone("").String()
}
