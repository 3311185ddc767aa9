package e2e

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// answerSize is more than what a slow client and the way to it hold, and less than what sluice's side holds.
const answerSize = 3_000_000

// A lastAnswer is a server that ends in good order, as one does that is replaced by a new version.
type lastAnswer struct {
	t        *testing.T
	listener net.Listener
	answered chan struct{} // closed when the answer is on its way and the server is gone
}

func startLastAnswer(t *testing.T) *lastAnswer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	s := &lastAnswer{t: t, listener: listener, answered: make(chan struct{})}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s
}

// serve answers "get", after which there is no server any more, and holds on to every other connection.
func (s *lastAnswer) serve(c net.Conn) {
	word := make([]byte, 3)
	if n, _ := io.ReadFull(c, word); n == 0 {
		c.Close() // a check
		return
	}
	if string(word) != "get" {
		s.t.Cleanup(func() { c.Close() })
		return
	}
	if _, err := c.Write(make([]byte, answerSize)); err != nil {
		s.t.Errorf("send the answer: %v", err)
	}
	c.Close()
	s.listener.Close()
	close(s.answered)
}

// A server sends its answer, ends in good order and is taken down with its sessions. Its slow client gets all of the
// answer all the same; a session that is not finished is cut.
func TestServerGoneBehindSlowClient(t *testing.T) {
	t.Parallel()
	server := startLastAnswer(t)
	r := startSluice(t, strings.NewReplacer("WEB", server.listener.Addr().String(), "OTHER", startCountedEcho(t).address()).Replace(`
listeners:
  web: {bind: "127.0.0.1:0", pool: web}
pools:
  web:
    balance: first
    check: {interval: 200ms, fast_interval: 200ms, fall: 2, timeout: 30s}
    on_down: {sessions: close, grace: 0s, rate: 0}
    backends: [{name: web, address: "WEB"}, {name: other, address: "OTHER"}]
`))
	open := func(word string) net.Conn {
		c := dialFrom(t, "127.0.0.1", r.address("web"), "")
		c.(*net.TCPConn).SetReadBuffer(32 << 10)
		io.WriteString(c, word)
		return c
	}
	held := open("hold")
	until(t, "it has a backend", func() error { return r.open(1) })
	c := open("get")
	<-server.answered
	held.SetDeadline(time.Now().Add(patient))
	if _, err := held.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the other session read %v, want a reset", err)
	}
	until(t, "all sessions are dealt with", func() error {
		if !slices.ContainsFunc(r.logLines(), func(l logLine) bool { return l.Msg == "closing sessions" }) {
			return errors.New("the log does not say so")
		}
		return nil
	})
	c.SetDeadline(time.Now().Add(patient))
	if n, err := io.Copy(io.Discard, c); n != answerSize || err != nil {
		t.Errorf("read %d of %d bytes, then %v; want all and FIN", n, answerSize, err)
	}
}
