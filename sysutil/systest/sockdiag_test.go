package systest

import (
	"net"
	"os"
	"slices"
	"testing"
	"time"
)

// The two ways to ask give the same: of a socket that listens, of a connection with bytes that nobody has read, of one
// that is closed, and of nothing.
func TestSockets(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	if !Listening(t, port) {
		t.Error("nobody listens")
	}
	for range 2 {
		client, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		server, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		if _, err := client.Write([]byte("unread")); err != nil {
			t.Fatal(err)
		}
		expectSockets(t, port, Socket{Near: port, Far: client.LocalAddr().(*net.TCPAddr).Port, State: Established, Unread: 6})
		if _, err := server.Read(make([]byte, 6)); err != nil {
			t.Fatal(err)
		}
		server.Close() // first, and so in TIME_WAIT
		if _, err := client.Read(make([]byte, 1)); err == nil {
			t.Fatal("read what nobody has sent")
		}
		client.Close()
		expectSockets(t, port, Socket{Near: port, Far: client.LocalAddr().(*net.TCPAddr).Port, State: TimeWait})
	}
	listener.Close()
	if Listening(t, port) {
		t.Error("somebody listens")
	}
}

// expectSockets waits for a socket, which this process has unless it is in TIME_WAIT, and until both ways to ask give the same.
func expectSockets(t *testing.T, port int, want Socket) {
	t.Helper()
	sorted := func(table []Socket) []Socket {
		return slices.SortedFunc(slices.Values(table), func(a, b Socket) int { return a.Near<<16 + a.Far - b.Near<<16 - b.Far })
	}
	isOwn := func(s Socket) bool {
		held := Held(t, os.Getpid())[s.Inode]
		s.Inode = 0
		return s == want && held == (s.State != TimeWait)
	}
	var asked, listed []Socket
	if !Wait(time.Minute, func() bool {
		asked, listed = sorted(Sockets(t, port)), sorted(listedSockets(t, port))
		return slices.ContainsFunc(asked, isOwn) && slices.Equal(asked, listed)
	}) {
		t.Fatalf("the kernel answers %+v and lists %+v, want %+v among them", asked, listed, want)
	}
}
