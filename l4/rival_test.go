package l4

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"sluice/pool"
	"sluice/sysutil"
)

// A rival is another process, in what matters here: it waits at a socket, and does nothing about whom it is woken for.
type rival struct {
	poller  *sysutil.Poller
	waker   *sysutil.Waker
	fd      int
	waiting sync.WaitGroup
}

// newRival begins to wait at a socket, until it is woken once.
func newRival(t *testing.T, at *listenSocket) *rival {
	t.Helper()
	r := &rival{poller: must(sysutil.NewPoller(1)), waker: must(sysutil.NewWaker()), fd: dup(t, at.fd)}
	if errno := cmp.Or(r.poller.AddListener(r.fd, 1), r.poller.AddReadable(r.waker.Fd(), 2)); errno != 0 {
		t.Fatal(errno)
	}
	r.waiting.Go(func() {
		events := make([]sysutil.Event, 1)
		for n, err := 0, error(nil); n == 0 && err == nil; {
			n, err = r.poller.Wait(events, -1)
		}
	})
	return r
}

// end ends it as a process ends.
func (r *rival) end() {
	r.waker.Wake()
	r.waiting.Wait()
	r.poller.Close()
	r.waker.Close()
	syscall.Close(r.fd)
}

// soleSocket returns the only socket of a server.
func soleSocket(srv *Server) *listenSocket { return (*srv.listeners()[0].sockets.Load())[0] }

// watches returns how this process watches a descriptor: in how many instances of epoll(7) with EPOLLEXCLUSIVE, and in
// how many without.
func watches(t *testing.T, fd int) (exclusive, always int) {
	t.Helper()
	watch := regexp.MustCompile(`(?m)^tfd: +(\d+) events: +([0-9a-f]+) `) // see proc_pid_fdinfo(5)
	for _, path := range must(filepath.Glob("/proc/self/fdinfo/*")) {
		text, err := os.ReadFile(path)
		if err != nil { // it has been closed
			continue
		}
		for _, m := range watch.FindAllStringSubmatch(string(text), -1) {
			events := must(strconv.ParseUint(m[2], 16, 32))
			switch {
			case m[1] != strconv.Itoa(fd):
			case events&(1<<28) != 0:
				exclusive++
			default:
				always++
			}
		}
	}
	return exclusive, always
}

// Whom the kernel wakes another process for that has not taken over is served, also when that one does nothing about it. As
// long as it may be there one loop is woken for everybody, and not longer.
func TestAbandonedToRival(t *testing.T) {
	for name, address := range departing(t) {
		t.Run(name, func(t *testing.T) {
			backend := newEcho(t)
			defer backend.stop()
			srv := startServer(t, 2, newPool(t, 2, 0, tcpAddress(backend.Addr())), ListenerConfig{Bind: []pool.Address{address}}, nil)
			defer shutDown(t, srv)
			bound := srv.Stats().Listeners[0].Addresses[0]
			expect := func(exclusive, always int) {
				t.Helper()
				if e, a := watches(t, soleSocket(srv).fd); e != exclusive || a != always {
					t.Fatalf("%d loops take turns and %d are woken always, want %d and %d", e, a, exclusive, always)
				}
			}
			expect(2, 0)
			var left []*Departure
			for range 20 {
				d := depart(t, srv)
				expect(0, 0)
				r := newRival(t, soleSocket(srv))
				d.Abandon()
				expect(1, 1)
				c := dialAddress(t, bound)
				exchange(t, c, "beside")
				c.Close()
				r.end()
				left = append(left, d)
			}
			for _, d := range left {
				expect(1, 1)
				d.PeerEnded()
				d.PeerEnded()
			}
			expect(2, 0)
			exchange(t, dialAddress(t, bound), "alone")
		})
	}
}
