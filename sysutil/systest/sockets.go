package systest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// A Socket is an IPv4 socket of TCP as /proc/net/tcp shows it: see proc_net_tcp.rst of the kernel.
type Socket struct {
	Near, Far      int // ports; Far is 0 while it listens
	State          int // see net/tcp_states.h of the kernel
	Unsent, Unread int // bytes that the peer has not acknowledged, and that the program has not read
}

// States of a Socket.
const (
	TimeWait = 6
	Listen   = 10
)

// Sockets returns the sockets that have a port of 127.0.0.1, or whose peer has it.
func Sockets(t testing.TB, port int) []Socket {
	t.Helper()
	near, err := diagSockets(everyState, port, 0)
	if err != nil {
		return listedSockets(t, port)
	}
	far, err := diagSockets(everyState, 0, port)
	if err != nil {
		t.Fatal(err)
	}
	return append(near, far...)
}

// listedSockets is Sockets where the kernel has no sock_diag(7).
func listedSockets(t testing.TB, port int) (table []Socket) {
	t.Helper()
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	mark := fmt.Sprintf(" 0100007F:%04X ", port) // there may be many others
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, mark) {
			continue
		}
		var number, host, peer int
		var s Socket
		if _, err := fmt.Sscanf(line, "%d: %X:%X %X:%X %X %X:%X",
			&number, &host, &s.Near, &peer, &s.Far, &s.State, &s.Unsent, &s.Unread); err != nil {
			t.Fatalf("read /proc/net/tcp: %v: %s", err, line)
		}
		table = append(table, s)
	}
	return table
}

// Listening reports whether a socket listens on a port of 127.0.0.1. It makes no connection, which would be logged.
func Listening(t testing.TB, port int) bool {
	t.Helper()
	table, err := diagSockets(1<<Listen, port, 0)
	if err != nil {
		table = listedSockets(t, port)
	}
	return slices.ContainsFunc(table, func(s Socket) bool { return s.Near == port && s.State == Listen })
}
