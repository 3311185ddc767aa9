package admin

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/l4"
)

const ask = "GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

// answerOn reads one answer.
func answerOn(t *testing.T, c net.Conn) *http.Response {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patient))
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("no answer: %v, %+v", err, answer)
	}
	return answer
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// TestPause: who comes waits in the backlog until there is somebody to answer, and nobody is refused.
func TestPause(t *testing.T) {
	s, tcp, socket := serve(t, options(newPool(t, "web", "a")))
	for range 2 { // it can be paused again
		idle := []net.Conn{keepAlive(t, tcp.addr), keepAlive(t, socket.addr)}
		if err := s.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "connections on which nothing is asked are closed", func() bool { return open(t, idle) == 0 })
		var waiting []net.Conn
		for range TCPConns {
			c := dial(t, tcp.addr)
			say(t, c, ask)
			waiting = append(waiting, c)
		}
		c := dial(t, socket.addr)
		say(t, c, ask)
		waiting = append(waiting, c)
		for _, one := range s.servers {
			if p := one.places; !p.quiet(false) || len(p.open) > 0 {
				t.Errorf("%d connections are open", len(p.open))
			}
		}
		if open(t, waiting) != len(waiting) {
			t.Error("somebody who waits is refused, or answered")
		}
		s.Resume()
		for _, c := range waiting {
			answerOn(t, c)
		}
	}
}

// TestPauseFinishes: what is under way is answered first, and the client asked to leave; a connection that is just there
// is let ask.
func TestPauseFinishes(t *testing.T) {
	o := options(newPool(t, "web", "a"))
	var slow atomic.Bool
	asked, goOn, stats := make(chan bool), make(chan bool), o.Stats
	o.Stats = func() l4.Stats {
		if slow.Load() {
			asked <- true
			<-goOn
		}
		return stats()
	}
	s, tcp, socket := serve(t, o)
	slow.Store(true)
	busy, fresh, half := dial(t, tcp.addr), dial(t, tcp.addr), dial(t, socket.addr)
	say(t, busy, ask)
	<-asked
	say(t, half, ask[:9])
	eventually(t, "all are accepted", func() bool {
		a, b := s.servers[0].places.answering(), s.servers[1].places.answering()
		return a == 2 && b == 1
	})
	paused := make(chan error)
	go func() { paused <- s.Pause(t.Context()) }()
	eventually(t, "it is paused", func() bool { return s.servers[0].places.paused() && s.servers[1].places.paused() })
	slow.Store(false)
	say(t, fresh, ask)
	say(t, half, ask[9:])
	select {
	case err := <-paused:
		t.Fatalf("it does not wait: %v", err)
	default:
	}
	goOn <- true
	for _, c := range []net.Conn{busy, fresh, half} {
		if answer := answerOn(t, c); !answer.Close {
			t.Error("a client is not told that the connection ends")
		}
	}
	if err := <-paused; err != nil {
		t.Error(err)
	}
}

// TestPauseIsBounded: who does not come to the end of a request is closed then, and an answer that takes longer is told of,
// and comes; nothing more is taken on its connection.
func TestPauseIsBounded(t *testing.T) {
	o := options(newPool(t, "web", "a"))
	asked, goOn := make(chan bool), make(chan bool)
	o.Visit = func(_ context.Context, visit func([]l4.SessionStats) error) error {
		asked <- true
		<-goOn
		return visit(nil)
	}
	s, tcp, _ := serve(t, o)
	list, half := dial(t, tcp.addr), dial(t, tcp.addr)
	say(t, half, ask[:9])
	say(t, list, strings.Replace(ask, "/readyz", sessionsPath, 1))
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	paused := make(chan error)
	go func() { paused <- s.Pause(ctx) }()
	eventually(t, "it is paused", s.servers[1].places.paused)
	cancel()
	if err := <-paused; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "1 request") {
		t.Errorf("the error is %v", err)
	}
	eventually(t, "the half request is closed", func() bool { return open(t, []net.Conn{half}) == 0 })
	goOn <- true
	answer := answerOn(t, list)
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		t.Error(err)
	}
	eventually(t, "the connection ends with the answer", func() bool { return open(t, []net.Conn{list}) == 0 })
}

// TestCloseWhilePaused: it does not wait for anybody, and a listener that comes meanwhile is paused too.
func TestCloseWhilePaused(t *testing.T) {
	s := New(options(newPool(t, "web", "a")))
	if err := s.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.ServeMetrics(l)
	waiting := dial(t, l.Addr())
	say(t, waiting, ask)
	eventually(t, "Accept waits", func() bool { return s.servers[0].places.quiet(false) })
	s.Close(t.Context())
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}
