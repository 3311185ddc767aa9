package admin

import (
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"sluice/l4"
)

// The addresses of a process that drains are free at once, while an answer that is under way is finished.
func TestRelease(t *testing.T) {
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
	answered := make(chan int)
	go func() {
		defer close(answered) // when there is no answer, too
		answer, _ := tcp.do("GET", "/readyz")
		answered <- answer.StatusCode
	}()
	<-asked
	s.Release()
	for _, at := range []net.Addr{tcp.addr, socket.addr} {
		l, err := net.Listen(at.Network(), at.String())
		if err != nil {
			t.Errorf("the address of a server that has given it up: %v", err)
			continue
		}
		if at.Network() == "tcp" { // one that comes too late is closed
			s.ServeTCP(l)
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("a listener that comes after the addresses were given up is open: %v", err)
			}
		}
		l.Close()
	}
	close(goOn)
	if status := <-answered; status != http.StatusOK {
		t.Errorf("a question that came before was answered with %d", status)
	}
}
