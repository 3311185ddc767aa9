package probe

import (
	"context"
	"net"
	"syscall"

	"sluice/pool"
)

// connectTCP connects from the next source, if there are some. One without a free port is passed by.
func (d *dialer) connectTCP(ctx context.Context, by *net.Dialer, target string) (conn net.Conn, err error) {
	if len(d.sources) == 0 {
		return by.DialContext(ctx, d.address.Network(), target)
	}
	for range d.sources {
		from := *by
		from.LocalAddr = &net.TCPAddr{IP: d.sources[int(d.turn.Add(1))%len(d.sources)].AsSlice()}
		from.Control = bindWithoutPort(by.Control)
		if conn, err = from.DialContext(ctx, d.address.Network(), target); pool.ObstacleOf(err) != pool.NoPort {
			break
		}
	}
	return conn, err
}

// bindWithoutPort leaves the choice of the port to connect(2), which knows where to: one port then serves for every
// destination. See IP_BIND_ADDRESS_NO_PORT in ip(7); package syscall has no name for it.
func bindWithoutPort(first func(network, address string, c syscall.RawConn) error) func(string, string, syscall.RawConn) error {
	const ipBindAddressNoPort = 24
	return func(network, address string, c syscall.RawConn) (err error) {
		if first != nil {
			if err := first(network, address, c); err != nil {
				return err
			}
		}
		if controlErr := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, ipBindAddressNoPort, 1)
		}); controlErr != nil {
			return controlErr
		}
		return err
	}
}
