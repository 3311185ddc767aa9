package admin

import (
	"context"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sluice/sysutil"
)

// TestListenersChangeHands: while two Servers change, every request is answered by one of them, and none is refused. The
// control socket's file goes over, and only its owner removes it.
func TestListenersChangeHands(t *testing.T) {
	old, tcp, socket := serve(t, options(newPool(t, "web", "a")))
	o := options(newPool(t, "web", "a"))
	o.Build.Version = "v2"
	next := New(o)
	var stop atomic.Bool
	var clients sync.WaitGroup
	var answers [2]atomic.Int32 // of both
	defer clients.Wait()
	defer stop.Store(true)
	for _, c := range []*client{tcp, tcp, socket, socket} {
		clients.Go(func() {
			for !stop.Load() {
				answer, body := c.do("GET", "/api/v1/status")
				i := 0
				if strings.Contains(body, `"version": "v2"`) {
					i = 1
				}
				if answers[i].Add(1); answer.StatusCode != http.StatusOK {
					t.Errorf("%s %s", answer.Status, body)
				}
			}
		})
	}
	answered := func(i int) func() bool {
		before := answers[i].Load()
		return func() bool { return answers[i].Load() > before+8 }
	}
	eventually(t, "the first answers", answered(0))
	if err := old.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	adopted := handed(t, old)
	next.ServeTCP(adopted[0])
	next.ServeSocket(adopted[1])
	defer next.Close(context.Background())
	for _, one := range old.servers {
		Disown(one.listener)
	}
	old.Close(t.Context())
	before := answers[0].Load()
	eventually(t, "the second answers", answered(1))
	if n := answers[0].Load(); n > before+4 { // some may not have counted what came before
		t.Errorf("the first has answered %d more", n-before)
	}
	if err := SetOwners(adopted[1], sysutil.SocketFile{Mode: 0o640}); err != nil {
		t.Error(err)
	}
	path := socket.addr.String()
	if info, err := os.Stat(path); err != nil || info.Mode() != fs.ModeSocket|0o640 {
		t.Errorf("the file is %v, %v", info, err)
	}
	stop.Store(true)
	clients.Wait()
	Own(adopted[1])
	next.Close(t.Context())
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file is left: %v", err)
	}
}

// handed returns the listeners of a Server as another one has them.
func handed(t *testing.T, s *Server) (adopted []net.Listener) {
	t.Helper()
	for _, one := range s.servers {
		fd, file, err := Hand(one.listener)
		if err != nil {
			t.Fatal(err)
		}
		l, err := Adopt(fd, "", file)
		if err != nil {
			t.Fatal(err)
		}
		if l.Addr().String() != one.listener.Addr().String() {
			t.Errorf("%s is at %s", one.listener.Addr(), l.Addr())
		}
		adopted = append(adopted, l)
	}
	return adopted
}

// TestHandOverThatFails: the first goes on, its file is where it was, and still its own.
func TestHandOverThatFails(t *testing.T) {
	s, tcp, socket := serve(t, options(newPool(t, "web", "a")))
	if err := s.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, l := range handed(t, s) {
		l.Close()
	}
	s.Resume()
	for _, c := range []*client{tcp, socket} {
		if answer, _ := c.do("GET", "/readyz"); answer.StatusCode != http.StatusOK {
			t.Errorf("after a hand-over that failed: %s", answer.Status)
		}
	}
	s.Close(t.Context())
	if _, err := os.Stat(socket.addr.String()); !os.IsNotExist(err) {
		t.Errorf("the file is left: %v", err)
	}
}

// TestAdoptWhatIsNoListener: it is closed, and the error says why.
func TestAdoptWhatIsNoListener(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	fd, err := sysutil.Duplicate(int(r.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	if _, err := Adopt(fd, "", sysutil.SocketIdentity{}); err == nil || err.Error() != "adopt listener: it is not a socket" {
		t.Errorf("the error is %v", err)
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("the descriptor is still open")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, _, err := Hand(l); err == nil {
		t.Error("a listener that is closed is handed over")
	}
}
