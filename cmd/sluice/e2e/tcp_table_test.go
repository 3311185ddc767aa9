package e2e

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"sluice/sysutil/systest"
)

// timeWaits is how many connections to a port of 127.0.0.1 are in TIME_WAIT at that side.
func timeWaits(t *testing.T, address string) (n int) {
	t.Helper()
	port := portOf(t, address)
	for _, s := range systest.Sockets(t, port) {
		if s.Near == port && s.State == systest.TimeWait {
			n++
		}
	}
	return n
}

// clientSockets returns the clients' sockets of the connections to a port of 127.0.0.1.
func clientSockets(t *testing.T, address string) (clients []systest.Socket) {
	t.Helper()
	port := portOf(t, address)
	for _, s := range systest.Sockets(t, port) {
		if s.Far == port && s.State != systest.TimeWait {
			clients = append(clients, s)
		}
	}
	return clients
}

// untilRead waits until the other side has read all that c has sent.
func untilRead(t *testing.T, c net.Conn) {
	t.Helper()
	near, far := portOf(t, c.LocalAddr().String()), portOf(t, c.RemoteAddr().String())
	until(t, "what was sent is read", func() error {
		for _, s := range systest.Sockets(t, far) {
			if s.Near == near && s.Unsent > 0 || s.Far == near && s.Unread > 0 {
				return errors.New("it is not yet")
			}
		}
		return nil
	})
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return int(a.Port())
}
