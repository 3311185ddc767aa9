package l4

import (
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/pool"
)

// untilPutOff waits until the newest session has met an obstacle.
func (r *rig) untilPutOff() {
	r.t.Helper()
	r.until("a connect is put off", func() bool { return r.newest() != nil && r.newest().state == statePaused })
}

// expectNoBlame checks that nothing was held against a backend, though there was an obstacle.
func (r *rig) expectNoBlame(backend int, obstacle pool.Obstacle) {
	r.t.Helper()
	stats := r.pool.Backends()[backend].Stats()
	for _, failure := range pool.DialFailures() {
		if n := stats.ConnectFailures[failure]; n != 0 {
			r.t.Errorf("backend %d has %d connects that are %v", backend, n, failure)
		}
	}
	if stats.Obstacles[obstacle] == 0 {
		r.t.Errorf("backend %d: no obstacle %v is counted", backend, obstacle)
	}
	for _, result := range r.dials {
		if result != pool.DialOK {
			r.t.Errorf("a connect was reported as %v", result)
		}
	}
}

// A fullSocket is a Unix socket whose backlog has no room, as that of a server that is busy
// for a moment.
type fullSocket struct {
	*net.UnixListener
	address pool.Address
	first   net.Conn // that fills it
}

func newFullSocket(t *testing.T) *fullSocket {
	t.Helper()
	s := &fullSocket{address: pool.Address{Unix: filepath.Join(t.TempDir(), "full")}}
	s.UnixListener = must(net.Listen("unix", s.address.Unix)).(*net.UnixListener)
	t.Cleanup(func() { s.Close() })
	raw := must(s.SyscallConn())
	if err := raw.Control(func(fd uintptr) { syscall.Listen(int(fd), 0) }); err != nil {
		t.Fatal(err)
	}
	s.first = must(net.Dial("unix", s.address.Unix))
	t.Cleanup(func() { s.first.Close() })
	return s
}

// empty makes room.
func (s *fullSocket) empty() {
	must(s.Accept()).Close()
	s.first.Close()
}

// While the backlog of one server is full, sessions go to the others, and nothing is held
// against it.
func TestFullBacklogIsPassedBy(t *testing.T) {
	full, other := newFullSocket(t), listenTCP(t, "127.0.0.1:0")
	r := newRig(t, rigConfig{backends: []pool.Address{full.address, tcpAddress(other.Addr())}})
	for range 20 {
		r.exchange(r.dial(), r.acceptFrom(other), 2)
		if s := r.newest(); s.retries != 0 {
			t.Errorf("%d retries are counted, want none", s.retries)
		}
	}
	r.expectNoBlame(0, pool.BacklogFull)
	if n := strings.Count(r.logs.String(), "the backlog of a backend is full"); n != 1 {
		t.Errorf("%d warnings, want 1:\n%s", n, r.logs.String())
	}
	full.empty()
	r.exchange(r.dial(), r.acceptFrom(full), 2)
}

// Where there is no other server, the session waits until there is room.
func TestFullBacklogIsWaitedFor(t *testing.T) {
	for _, protocol := range []Protocol{ProtocolTCP, ProtocolPostgres} {
		full := newFullSocket(t)
		r := newRig(t, rigConfig{backends: []pool.Address{full.address}, connect: 10 * time.Second, protocol: protocol})
		c := r.dial()
		r.write(c, startup)
		r.untilPutOff()
		for range 3 {
			r.now += 2 * longestPause
			r.settle()
		}
		full.empty()
		r.now += 2 * longestPause
		s := r.acceptFrom(full)
		r.expect(s, startup)
		r.write(s, loginAnswer(cancelKey(1, 4)))
		r.expect(c, loginAnswer(cancelKey(1, 4)))
		r.expectNoBlame(0, pool.BacklogFull)
		if n := r.pool.Backends()[0].Stats().Obstacles[pool.BacklogFull]; n < 4 {
			t.Errorf("%d obstacles, want one for each try", n)
		}
		c.Close()
		s.Close()
		if end := r.expectEnd(ClientClosed); end.Retries != 0 {
			t.Errorf("%+v, want no retries", end)
		}
	}
}

// It waits as long as connects may take, and then as long as the queue says.
func TestFullBacklogStays(t *testing.T) {
	f := func(name string, c rigConfig, wait time.Duration, want Reason) {
		t.Run(name, func(t *testing.T) {
			c.backends = []pool.Address{newFullSocket(t).address}
			r := newRig(t, c)
			client := r.dial()
			r.untilPutOff()
			began := r.now
			for r.now < began+wait-2*time.Second { // seconds, for turnarounds
				r.now += time.Second / 4
				r.step()
				if len(r.ended) > 0 {
					t.Fatalf("it has ended after %v: %+v", r.now-began, r.ended)
				}
			}
			r.now += 3 * time.Second
			r.expectReset(client, nil)
			if end := r.expectEnd(want); end.Errno != syscall.EAGAIN || end.Retries != 0 || end.Backend != "b0" {
				t.Errorf("%+v: want EAGAIN from b0 and no retries", end)
			}
			r.expectNoBlame(0, pool.BacklogFull)
		})
	}
	f("no queue", rigConfig{connect: 10 * time.Second, retries: 2}, 10*time.Second, ConnectFailed)
	f("no timeout", rigConfig{}, obstacleTimeout, ConnectFailed)
	f("queue", rigConfig{connect: 3 * time.Second, queueMax: 1, queueTimeout: 9 * time.Second}, 12*time.Second, QueueTimeout)
}

// A client that leaves meanwhile ends its session, and one whose server goes down moves on.
func TestLeaveWhilePutOff(t *testing.T) {
	full := newFullSocket(t)
	r := newRig(t, rigConfig{backends: []pool.Address{full.address}, connect: time.Minute})
	c := r.dial()
	r.untilPutOff()
	reset(c)
	r.expectEnd(ClientClosed) // a probe
	c = r.dial()
	r.untilPutOff()
	c.Close()
	r.expectEnd(ClientClosed)
	r.expectEmpty()
}

func TestMoveOnWhilePutOff(t *testing.T) {
	full, other := newFullSocket(t), listenTCP(t, "127.0.0.1:0")
	r := newRig(t, rigConfig{backends: []pool.Address{full.address, tcpAddress(other.Addr())}})
	r.pool.Backends()[1].SetUp(false)
	c := r.dial()
	r.untilPutOff()
	r.pool.Backends()[1].SetUp(true)
	r.pool.Backends()[0].SetUp(false)
	r.srv.Redispatch(r.pool.Backends()[0])
	s := r.acceptFrom(other)
	r.now += time.Second // nothing is put off any more
	r.exchange(c, s, 2)
	r.expectActive(0, 1)
}

// Without a descriptor for the backend's side no other backend is tried, nothing is held
// against the one that was, and the session is served when there are descriptors.
func TestConnectWithoutDescriptors(t *testing.T) {
	r := newRig(t, rigConfig{})
	c := r.dial()
	restore := useUpDescriptors(t, 1) // one is left, for the accepted connection
	r.untilPutOff()
	r.now += 2 * longestPause
	r.settle()
	restore()
	r.now += 2 * longestPause
	r.exchange(c, r.accept(), 2)
	r.expectNoBlame(0, pool.NoResources)
}

// Descriptors that come free are for those who were accepted first: else a crowd that has
// one each would keep the second one from each other.
func TestNoResourcesRestsListeners(t *testing.T) {
	r := newRig(t, rigConfig{})
	first := r.dial()
	for range 5 {
		r.dial()
	}
	restore := useUpDescriptors(t, 1)
	r.untilPutOff()
	for range 20 {
		r.now += restTime / 4
		r.step()
	}
	if n := r.srv.Stats().Listeners[0].Accepts; n != 1 {
		t.Errorf("%d were accepted while the first one waits for a descriptor, want 1", n)
	}
	restore()
	r.now += 2 * longestPause
	r.exchange(first, r.accept(), 2)
	r.until("the others come in", func() bool {
		r.now += tick
		return r.srv.Stats().Listeners[0].Accepts == 6
	})
}

// With all ports taken towards one server, sessions go to the other; with none left at all they
// wait for one.
func TestConnectWithoutPorts(t *testing.T) {
	ownNetwork(t, 40000, 40001)
	at := func(address string) pool.Address { return pool.Address{TCP: netip.MustParseAddrPort(address)} }
	one, other := listenTCP(t, "127.0.0.1:1001"), listenTCP(t, "127.0.0.1:1002")
	// The clients are not of this network's ports.
	path := filepath.Join(t.TempDir(), "front")
	r := newRig(t, rigConfig{
		bind: []pool.Address{{Unix: path}}, backends: []pool.Address{at("127.0.0.1:1001"), at("127.0.0.1:1002")},
		connect: time.Second,
	})
	var open [][2]conn
	for _, at := range []net.Listener{one, one, other, other} {
		open = append(open, [2]conn{r.dial(), r.acceptFrom(at)})
	}
	c := r.dial()
	r.untilPutOff()
	r.expectNoBlame(0, pool.NoPort)
	r.expectNoBlame(1, pool.NoPort)
	if n := strings.Count(r.logs.String(), "no source port is left"); n != 2 {
		t.Errorf("%d warnings, want one for each server:\n%s", n, r.logs.String())
	}
	reset(open[2][server])
	r.expectEnd(ServerReset)
	r.now += 2 * longestPause
	r.exchange(c, r.acceptFrom(other), 2)
}
