package l4

import (
	"net"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"sluice/pool"
)

// expectDials checks how the connects went, in order.
func (r *rig) expectDials(want ...pool.DialResult) {
	r.t.Helper()
	if !slices.Equal(r.dials, want) {
		r.t.Errorf("dials %v, want %v", r.dials, want)
	}
}

func TestConnectRefused(t *testing.T) {
	r := newRig(t, rigConfig{backends: []pool.Address{refusing(t), refusing(t), refusing(t)}, retries: 2})
	c := r.dial()
	r.expectReset(c, nil)
	end := r.expectEnd(ConnectRefused)
	if end.Errno != syscall.ECONNREFUSED || end.Retries != 2 || end.Backend != "b2" || end.ConnectTime != 0 {
		t.Errorf("ended with %+v, want ECONNREFUSED by b2 after 2 retries", end)
	}
	r.expectDials(pool.DialRefused, pool.DialRefused, pool.DialRefused)
	r.expectEmpty()
}

func TestConnectRefusedThenAnother(t *testing.T) {
	f := func(name string, retries int, refuse int, want Reason) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			good := listenTCP(t, "127.0.0.1:0")
			var backends []pool.Address
			for range refuse {
				backends = append(backends, refusing(t))
			}
			r := newRig(t, rigConfig{backends: append(backends, tcpAddress(good.Addr())), retries: retries})
			c := r.dial()
			if want == ConnectRefused {
				r.expectReset(c, nil)
				r.expectEnd(want)
				return
			}
			s := r.acceptFrom(good)
			r.exchange(c, s, 3)
			r.exchange(s, c, 3)
			c.Close()
			s.Close()
			if end := r.expectEnd(want); end.Retries != refuse {
				t.Errorf("%d retries, want %d", end.Retries, refuse)
			}
		})
	}
	f("first refuses", 2, 1, ClientClosed)
	f("two refuse", 2, 2, ClientClosed)
	f("too many refuse", 2, 3, ConnectRefused)
	f("no retry", 0, 1, ConnectRefused)
	f("more retries than a byte counts", 1000, 5, ClientClosed)
}

// Every backend was tried, and more retries are allowed: the reason is the
// failed connect, not that no further backend exists.
func TestConnectRefusedByAll(t *testing.T) {
	r := newRig(t, rigConfig{backends: []pool.Address{refusing(t), refusing(t)}, retries: 5})
	r.expectReset(r.dial(), nil)
	r.expectEnd(ConnectRefused)
	r.expectDials(pool.DialRefused, pool.DialRefused)
}

func TestConnectTimeout(t *testing.T) {
	r := newRig(t, rigConfig{backends: []pool.Address{newBacklog(t).address}, connect: 3 * time.Second})
	c := r.dial()
	r.until("the connect is under way", func() bool { return r.newest() != nil })
	r.now += 3*time.Second - time.Millisecond
	r.settle()
	if len(r.ended) > 0 {
		t.Fatalf("ended early: %+v", r.ended)
	}
	r.now += time.Millisecond + tick
	end := r.expectEnd(ConnectTimeout)
	if end.Errno != syscall.ETIMEDOUT || end.Backend != "b0" {
		t.Errorf("ended with %+v, want ETIMEDOUT by b0", end)
	}
	r.expectReset(c, nil)
	r.expectDials(pool.DialTimeout)
	r.expectEmpty()
}

// The timeout is one for all connects: as long as there is another backend to try,
// each gets its share of what is left, and the last one the rest.
func TestConnectTimeoutShares(t *testing.T) {
	f := func(name string, connect time.Duration, retries int, kinds string, shares ...time.Duration) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			var addresses []pool.Address
			for _, kind := range kinds {
				switch kind {
				case 's':
					addresses = append(addresses, newBacklog(t).address)
				case 'r':
					addresses = append(addresses, refusing(t))
				}
			}
			r := newRig(t, rigConfig{backends: addresses, retries: retries, connect: connect})
			r.dial()
			r.until("the connect is under way", func() bool { return r.newest() != nil })
			for _, share := range shares {
				r.settle() // what is refused is refused
				done := len(r.dials)
				r.now += share - 4*tick // the one before was given up a little late
				r.settle()
				if len(r.dials) != done {
					t.Fatalf("%d dials are over before %v, want %d", len(r.dials), share, done)
				}
				r.now += 5 * tick
				r.until("the connect is given up", func() bool { return len(r.dials) > done })
			}
			if end := r.expectEnd(ConnectTimeout); end.Duration < connect || end.Duration > connect+6*tick {
				t.Errorf("ended after %v, want %v", end.Duration, connect)
			}
			r.expectEmpty()
		})
	}
	const s = time.Second
	f("three silent", 9*s, 2, "sss", 3*s, 3*s, 3*s)
	f("two silent, one retry", 9*s, 1, "ss", 4500*time.Millisecond, 4500*time.Millisecond)
	f("no retry", 9*s, 0, "ss", 9*s)
	f("no other", 9*s, 2, "s", 9*s)
	f("more retries than backends", 9*s, 5, "ss", 4500*time.Millisecond, 4500*time.Millisecond)
	f("one refuses first", 9*s, 2, "rss", 4500*time.Millisecond, 4500*time.Millisecond)
	f("one refuses in between", 9*s, 2, "srs", 3*s, 6*s)
	f("all others refuse", 9*s, 9, "rrrs", 9*s)
	f("time enough for a lost SYN", 3*s, 2, "sss", leastConnect, leastConnect, 3*s-2*leastConnect)
}

// A connect that has had its share while there was nobody else has the rest too,
// and then another backend that has come up meanwhile gets the whole time.
func TestConnectTimeoutThenAnother(t *testing.T) {
	good := listenTCP(t, "127.0.0.1:0")
	silent := []pool.Address{newBacklog(t).address, newBacklog(t).address}
	r := newRig(t, rigConfig{
		backends: append(silent, tcpAddress(good.Addr())), retries: 2, connect: 3 * time.Second,
	})
	b := r.pool.Backends()
	b[1].SetUp(false)
	b[2].SetUp(false)
	c := r.dial()
	r.until("the connect is under way", func() bool { return r.newest() != nil })
	r.now += leastConnect + tick // its share
	r.settle()
	b[1].SetUp(true)
	r.now += 3*time.Second - leastConnect - 2*tick
	r.settle()
	r.expectDials()
	r.now += 2 * tick
	r.until("the connect is given up", func() bool { return len(r.dials) == 1 })
	r.now += 3*time.Second - time.Millisecond
	r.settle()
	r.expectDials(pool.DialTimeout)
	b[2].SetUp(true)
	r.now += time.Millisecond + tick
	s := r.acceptFrom(good)
	r.exchange(c, s, 3)
	r.expectDials(pool.DialTimeout, pool.DialTimeout, pool.DialOK)
	c.Close()
	s.Close()
	if end := r.expectEnd(ClientClosed); end.Retries != 2 {
		t.Errorf("%d retries, want 2", end.Retries)
	}
}

// A connect that timed out is closed for good: an answer that comes later is
// not taken for the next backend's.
func TestLateAnswerAfterConnectTimeout(t *testing.T) {
	late := newBacklog(t)
	r := newRig(t, rigConfig{
		backends: []pool.Address{late.address, newBacklog(t).address}, retries: 1, connect: 3 * time.Second,
	})
	r.dial()
	r.until("the connect is under way", func() bool { return r.newest() != nil })
	r.now += 3*time.Second + tick
	r.until("the connect is given up", func() bool { return len(r.dials) == 1 })
	late.serve(t)
	r.settle()
	if s := r.newest(); s == nil || s.state != stateConnecting || s.backend.Name() != "b1" {
		t.Fatalf("session %+v, want it connecting to b1", s)
	}
	if n := r.pool.Backends()[0].Stats().Active; n != 0 {
		t.Errorf("b0 has %d active connections, want 0", n)
	}
}

func TestBackendClosesAtOnce(t *testing.T) {
	r := newRig(t, rigConfig{})
	c := r.dial()
	s, err := func() (net.Conn, error) { r.step(); r.step(); return r.backend.Accept() }()
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	r.expectFIN(c)
	c.Close()
	r.expectEnd(ServerClosed)
	r.expectEmpty()
}

// A backend that resets before the loop looked has refused: nothing was sent
// to it, so another may be tried.
func TestBackendResetsAtOnce(t *testing.T) {
	good := listenTCP(t, "127.0.0.1:0")
	bad := listenTCP(t, "127.0.0.1:0")
	r := newRig(t, rigConfig{backends: []pool.Address{tcpAddress(bad.Addr()), tcpAddress(good.Addr())}, retries: 1})
	c := r.dial()
	r.until("the connect is under way", func() bool { return r.newest() != nil })
	s, err := bad.Accept()
	if err != nil {
		t.Fatal(err)
	}
	reset(s.(conn))
	if r.newest().state == stateConnecting {
		r.exchange(c, r.acceptFrom(good), 3)
		r.expectDials(pool.DialRefused, pool.DialOK)
	} else {
		t.Fatal("the loop saw the connect before it was reset")
	}
}

// The client is gone when the connect succeeds: the backend is told so. It is not
// ended before, for it may wait for an answer, even if it has asked nothing.
func TestClientLeavesWhileConnecting(t *testing.T) {
	for _, words := range []string{"last words", ""} {
		backlog := newBacklog(t)
		r := newRig(t, rigConfig{backends: []pool.Address{backlog.address}, queueMax: 1})
		c := r.dial()
		r.write(c, []byte(words))
		c.CloseWrite()
		r.settle()
		if s := r.newest(); s == nil || s.state != stateConnecting {
			t.Fatalf("session %+v, want it connecting", s)
		}
		s := r.acceptFrom(backlog.serve(t)) // when the kernel has sent its SYN again
		r.expect(s, []byte(words))
		r.expectFIN(s)
		r.write(s, []byte("answer"))
		s.Close()
		r.expect(c, []byte("answer"))
		r.expectFIN(c)
		r.expectEnd(ClientClosed)
		r.expectEmpty()
	}
}

func TestNoBackend(t *testing.T) {
	r := newRig(t, rigConfig{})
	r.pool.Backends()[0].SetUp(false)
	r.expectReset(r.dial(), nil)
	if end := r.expectEnd(NoBackend); end.Backend != "" || end.Pool != "pool" {
		t.Errorf("ended with %+v, want no backend, pool %q", end, "pool")
	}
	r.expectEmpty()
}

func TestMaxConns(t *testing.T) {
	r := newRig(t, rigConfig{maxConns: 2})
	one, _ := r.pair(), r.pair()
	r.expectReset(r.dial(), nil)
	r.expectEnd(QueueFull)
	if n := r.pool.Backends()[0].Stats().Active; n != 2 {
		t.Errorf("%d active connections, want 2", n)
	}
	reset(one[client])
	r.expectEnd(ClientClosed)
	r.exchange(r.dial(), r.accept(), 1)
}

func TestUnixBackendFails(t *testing.T) {
	dir := t.TempDir()
	f := func(name, path string, result pool.DialResult, want Reason) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigConfig{backends: []pool.Address{{Unix: path}}})
			r.expectReset(r.dial(), nil)
			r.expectEnd(want)
			r.expectDials(result)
			r.expectEmpty()
		})
	}
	dead := filepath.Join(dir, "dead")
	fd := must(syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0))
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: dead}); err != nil {
		t.Fatal(err)
	}
	syscall.Close(fd)
	f("no such file", filepath.Join(dir, "none"), pool.DialRefused, ConnectRefused)
	f("nobody listens", dead, pool.DialRefused, ConnectRefused)
	f("path too long", "/"+string(random(1, 0))+string(make([]byte, 200)), pool.DialError, ConnectFailed)
}
