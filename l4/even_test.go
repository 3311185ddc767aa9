package l4

import (
	"math/rand/v2"
	"net"
	"slices"
	"testing"
)

// Long-lived sessions are spread over the loops to within a tenth, also after
// many of them went, by chance or by age.
func TestLoopsAreEven(t *testing.T) {
	const loops, sessions = 3, 400
	backend := newEcho(t)
	defer backend.stop()
	p := newPool(t, loops, 0, tcpAddress(backend.Addr()))
	ended := make(chan End, 2*sessions)
	srv := startServer(t, loops, p, ListenerConfig{}, func(e End) { ended <- e })
	defer shutDown(t, srv)
	rnd := rand.New(rand.NewPCG(1, 1))

	var conns []net.Conn
	open := func(n int) {
		for range n {
			conns = append(conns, dialEcho(t, srv))
		}
		expectEven(t, srv, sessions)
	}
	shut := func(n int) {
		for _, c := range conns[:n] {
			c.Close()
		}
		conns = conns[n:]
		for range n {
			if e := <-ended; e.Reason != ClientClosed {
				t.Errorf("a session ended with %v", e.Reason)
			}
		}
	}
	defer func() { shut(len(conns)) }()

	open(sessions)
	rnd.Shuffle(len(conns), func(i, j int) { conns[i], conns[j] = conns[j], conns[i] })
	shut(sessions / 2)
	open(sessions / 2)
	// The oldest go, then the newest, then every third.
	shut(sessions / 2)
	open(sessions / 2)
	slices.Reverse(conns)
	shut(sessions / 4)
	open(sessions / 4)
	slices.SortStableFunc(conns, func(a, b net.Conn) int { return port(a)%3 - port(b)%3 })
	shut(sessions / 3)
	open(sessions / 3)
}

func port(c net.Conn) int { return c.LocalAddr().(*net.TCPAddr).Port }

// Whoever accepts, a new session goes to a loop that has room for it.
func TestPlace(t *testing.T) {
	f := func(own int64, others []int64, want int) {
		t.Helper()
		srv := &Server{loops: []*loop{{index: 0}}}
		srv.loops[0].load.Store(own)
		for i, n := range others {
			srv.loops = append(srv.loops, &loop{index: i + 1})
			srv.loops[i+1].load.Store(n)
		}
		if got := srv.place(srv.loops[0]).index; got != want {
			t.Errorf("loads %d %v: place on loop %d, want %d", own, others, got, want)
		}
	}
	f(0, nil, 0)
	f(1000, nil, 0)
	f(0, []int64{0, 0}, 0)
	f(1, []int64{0, 0}, 0) // a hand-over costs more than one session's difference
	f(2, []int64{0, 1}, 1)
	f(2, []int64{1, 0}, 2)
	f(100, []int64{95, 90}, 0)
	f(100, []int64{95, 89}, 2)
	f(10, []int64{20, 30}, 0)
}

func expectEven(t *testing.T, srv *Server, total int) {
	t.Helper()
	stats := srv.Stats().Loops
	share := float64(total) / float64(len(stats))
	sum := 0
	for i, l := range stats {
		sum += l.Sessions
		if off := float64(l.Sessions) - share; off > share/10 || off < -share/10 {
			t.Errorf("loop %d has %d sessions, its share is %.0f: %+v", i, l.Sessions, share, stats)
		}
	}
	if sum != total {
		t.Errorf("%d sessions on all loops, want %d", sum, total)
	}
}
