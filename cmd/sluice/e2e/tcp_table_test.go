package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// A tcpSocket is an IPv4 socket of TCP as /proc/net/tcp shows it: see proc_net_tcp.rst of the kernel.
type tcpSocket struct {
	near, far      int // ports; far is 0 while it listens
	state          int // see net/tcp_states.h of the kernel
	unsent, unread int // bytes that the peer has not acknowledged, and that the program has not read
}

const (
	tcpTimeWait = 6
	tcpListen   = 10
)

// tcpSockets returns the sockets that have a port of 127.0.0.1, or whose peer has it.
func tcpSockets(t *testing.T, port int) (table []tcpSocket) {
	t.Helper()
	mark := fmt.Sprintf(" 0100007F:%04X ", port) // there may be many others
	for line := range strings.Lines(readFile(t, "/proc/net/tcp")) {
		if !strings.Contains(line, mark) {
			continue
		}
		var number, host, peer int
		var s tcpSocket
		if _, err := fmt.Sscanf(line, "%d: %X:%X %X:%X %X %X:%X",
			&number, &host, &s.near, &peer, &s.far, &s.state, &s.unsent, &s.unread); err != nil {
			t.Fatalf("read /proc/net/tcp: %v: %s", err, line)
		}
		table = append(table, s)
	}
	return table
}

// isListening reports whether a socket listens on a port of 127.0.0.1.
func isListening(t *testing.T, port int) bool {
	t.Helper()
	for _, s := range tcpSockets(t, port) {
		if s.near == port && s.state == tcpListen {
			return true
		}
	}
	return false
}

// timeWaits is how many connections to a port of 127.0.0.1 are in TIME_WAIT at that side.
func timeWaits(t *testing.T, address string) (n int) {
	t.Helper()
	port := portOf(t, address)
	for _, s := range tcpSockets(t, port) {
		if s.near == port && s.state == tcpTimeWait {
			n++
		}
	}
	return n
}

// clientSockets returns the clients' sockets of the connections to a port of 127.0.0.1.
func clientSockets(t *testing.T, address string) (clients []tcpSocket) {
	t.Helper()
	port := portOf(t, address)
	for _, s := range tcpSockets(t, port) {
		if s.far == port && s.state != tcpTimeWait {
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
		for _, s := range tcpSockets(t, far) {
			if s.near == near && s.unsent > 0 || s.far == near && s.unread > 0 {
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
