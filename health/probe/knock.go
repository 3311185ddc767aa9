package probe

import (
	"context"
	"net"
	"syscall"
)

// knock asks whether somebody listens, without a connection that the server would ever see: the kernel there answers the
// SYN, and gets a reset in place of the handshake's last ACK. So accept(2) returns nothing, no line is logged, and no
// server counts a client that came and said nothing (MariaDB and MySQL block a host after 100 of those, error 1129).
//
// The last ACK waits because the socket is not in quick-ack mode: see TCP_QUICKACK in tcp(7); the kernel delays it by up
// to 200 ms, in the hope of data to send it with. A process that is held up for longer between the connect and the close
// makes a connection, and a reset. HAProxy's plain check does the same.
func (d *dialer) knock(ctx context.Context) error {
	knocking := d.net
	knocking.Control = delayAck
	conn, err := d.connect(ctx, &knocking)
	if err != nil {
		return err
	}
	reset(conn)
	return nil
}

// reset closes a TCP connection with RST. No TIME_WAIT is left. See SO_LINGER in socket(7).
func reset(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// delayAck takes a socket that is not connected yet out of quick-ack mode.
func delayAck(_, _ string, c syscall.RawConn) error {
	var err error
	if controlErr := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 0)
	}); controlErr != nil {
		return controlErr
	}
	return err
}
