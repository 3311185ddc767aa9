package systest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A Socket is an IPv4 socket of TCP as /proc/net/tcp shows it: see proc_net_tcp.rst of the kernel.
type Socket struct {
	Near, Far      int // ports; Far is 0 while it listens
	State          int // see net/tcp_states.h of the kernel
	Unsent, Unread int // bytes that the peer has not acknowledged, and that the program has not read
	Inode          int // 0 = it is no program's any more
}

// States of a Socket.
const (
	Established = 1
	TimeWait    = 6
	Listen      = 10
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
		var x int // what does not matter
		var s Socket
		if _, err := fmt.Sscanf(line, "%d: %X:%X %X:%X %X %X:%X %X:%X %X %d %d %d",
			&x, &x, &s.Near, &x, &s.Far, &s.State, &s.Unsent, &s.Unread, &x, &x, &x, &x, &x, &s.Inode); err != nil {
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

// Held returns the inodes of the sockets that a process has: see proc_pid_fd(5).
func Held(t testing.TB, pid int) map[int]bool {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	held := make(map[int]bool)
	for _, f := range files {
		var inode int
		target, err := os.Readlink(filepath.Join(dir, f.Name()))
		if err != nil { // it has been closed
			continue
		}
		if _, err := fmt.Sscanf(target, "socket:[%d]", &inode); err == nil {
			held[inode] = true
		}
	}
	return held
}
