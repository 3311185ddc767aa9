package admin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

const patient = time.Minute

// keepAlive opens a connection and has one answer on it.
func keepAlive(t *testing.T, at net.Addr) net.Conn {
	t.Helper()
	conn := dial(t, at)
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(patient))
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("no answer: %v, %+v", err, answer)
	}
	return conn
}

func dial(t *testing.T, at net.Addr) net.Conn {
	t.Helper()
	conn, err := net.Dial(at.Network(), at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// open counts the connections that the server has not ended. It waits for none of them.
func open(t *testing.T, conns []net.Conn) (n int) {
	t.Helper()
	for _, c := range conns {
		raw, err := c.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			if _, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT); err == syscall.EAGAIN {
				n++
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patient); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in %v", what, patient)
		}
	}
}

// TestIdleConnectionsMakeRoom: whoever comes is answered, and those who have waited longest lose their places. The
// other address has its own.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	_, tcp, socket := serve(t, options(newPool(t, "web", "a")))
	f := func(first, second *client, most int) {
		t.Helper()
		var idle []net.Conn
		for range 3 * most {
			idle = append(idle, keepAlive(t, first.addr))
		}
		eventually(t, fmt.Sprintf("fewer than %d idle connections are open", most), func() bool { return open(t, idle) < most })
		if open(t, idle) == 0 {
			t.Error("all idle connections have ended")
		}
		eventually(t, "the oldest connections have ended", func() bool { return open(t, idle[:most]) == 0 })
		for _, c := range []*client{first, second} {
			if answer, _ := c.do("GET", "/readyz"); answer.StatusCode != http.StatusOK {
				t.Errorf("beside idle connections: %s", answer.Status)
			}
		}
	}
	f(tcp, socket, TCPConns)
	f(socket, tcp, SocketConns)
}

// TestSilentConnectionsMakeRoom: those who never ask, who never come to the end of a request, and who do not read what
// they have asked for.
func TestSilentConnectionsMakeRoom(t *testing.T) {
	o := options(newPool(t, "web", "a"))
	o.Build.Version = strings.Repeat("x", 6<<20) // more than the buffers of a connection
	_, tcp, _ := serve(t, o)
	f := func(says string) {
		t.Helper()
		for range TCPConns + 1 {
			c := dial(t, tcp.addr)
			_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
			if _, err := io.WriteString(c, says); err != nil {
				t.Fatal(err)
			}
		}
		if answer, _ := tcp.do("GET", "/readyz"); answer.StatusCode != http.StatusOK {
			t.Errorf("beside clients that say %q: %s", says, answer.Status)
		}
	}
	f("")
	f("GET /metrics HTTP/1.1\r\nHost: 127")
	f("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
}

// TestWorkIsNotCut: a request that is worked at keeps its connection, however long it takes and whoever waits. Then
// the connection ends with the answer, so that others get the place.
func TestWorkIsNotCut(t *testing.T) {
	release := make(chan struct{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const most = 4
	p := newPlaces(l, most)
	arrived := make(chan struct{}, most)
	hs := &http.Server{ConnContext: withConn, Handler: placed(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-release
		w.WriteHeader(http.StatusOK)
	}))}
	done := make(chan struct{})
	go func() { defer close(done); _ = hs.Serve(p) }()
	t.Cleanup(func() { hs.Close(); <-done })

	busy := make([]net.Conn, most) // the last one has no place
	for i := range busy {
		busy[i] = dial(t, l.Addr())
		if _, err := io.WriteString(busy[i], "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	for range most - 1 {
		<-arrived
	}
	eventually(t, "somebody waits for a place", p.crowd.Load)
	close(release)
	<-arrived // one has left its place to the last
	leaving := 0
	for _, c := range busy {
		c.SetReadDeadline(time.Now().Add(patient))
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("a request was cut: %v, %+v", err, answer)
		}
		if answer.Close {
			leaving++
		}
	}
	if leaving == 0 {
		t.Error("nobody was asked to leave when others waited")
	}
}

// TestCloseWhileSomebodyWaits: a listener whose places are all taken can be closed.
func TestCloseWhileSomebodyWaits(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := newPlaces(l, 2)
	dial(t, l.Addr())
	one, err := p.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	one.(*conn).enter(working)
	dial(t, l.Addr())
	ended := make(chan error, 1)
	go func() { _, err := p.Accept(); ended <- err }()
	eventually(t, "somebody waits for a place", p.crowd.Load)
	p.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept returns %v", err)
	}
}
