package l4

import (
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"sluice/pool"
)

// A connect to a port of this machine that nobody holds can get that very port for its own
// end. It is refused like any other, and leaves the port to the server.
func TestConnectMeetsItself(t *testing.T) {
	const first, last = 40000, 40009
	ownNetwork(t, first, last)
	for i, ip := range []string{"127.0.0.1", "::1"} {
		at := netip.AddrPortFrom(netip.MustParseAddr(ip), first)
		r := newRig(t, rigConfig{
			bind:     []pool.Address{{TCP: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(80+i))}},
			backends: []pool.Address{{TCP: at}},
		})
		const secret = "for the server only"
		for range 100 {
			c := r.dial()
			if _, err := c.Write([]byte(secret)); err != nil { // the loop has not seen it yet
				t.Fatal(err)
			}
			r.expectEnd(ConnectRefused)
			if _, err := r.rest(c); !errors.Is(err, syscall.ECONNRESET) {
				t.Fatalf("%s: the client sees %v, want a reset", ip, err)
			}
			c.Close()
		}
		for _, result := range r.dials {
			if result != pool.DialRefused {
				t.Errorf("%s: a connect was reported as %v", ip, result)
			}
		}
		bindPlainly(t, at)
	}
}

// bindPlainly checks that a server that does not know SO_REUSEADDR can have an address.
func bindPlainly(t *testing.T, at netip.AddrPort) {
	t.Helper()
	family, sa := syscall.AF_INET6, syscall.Sockaddr(&syscall.SockaddrInet6{Addr: at.Addr().As16(), Port: int(at.Port())})
	if at.Addr().Is4() {
		family, sa = syscall.AF_INET, &syscall.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}
	}
	fd := must(syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0))
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, sa); err != nil {
		t.Errorf("bind %v: %v", at, err)
	}
}

// Only a connect to this machine, and to a port that the kernel might choose, is looked at.
func TestReflexive(t *testing.T) {
	own := &ownPorts{low: 32768, high: 60999, addresses: []netip.Addr{netip.MustParseAddr("10.0.0.5")}}
	f := func(address string, want bool) {
		t.Helper()
		if got := newDialTarget(pool.Address{TCP: netip.MustParseAddrPort(address)}, own, nil).reflexive; got != want {
			t.Errorf("%s: %t, want %t", address, got, want)
		}
	}
	f("127.0.0.1:32768", true)
	f("127.9.9.9:60999", true)
	f("[::1]:40000", true)
	f("10.0.0.5:40000", true)
	f("[::ffff:10.0.0.5]:40000", true)
	f("127.0.0.1:5432", false)
	f("127.0.0.1:61000", false)
	f("10.0.0.6:40000", false)
	if newDialTarget(pool.Address{Unix: "/run/x"}, own, nil).reflexive {
		t.Error("a Unix socket has no ports")
	}
}

func ips(list ...string) (parsed []netip.Addr) {
	for _, text := range list {
		parsed = append(parsed, netip.MustParseAddr(text))
	}
	return parsed
}

// Backends see the addresses that the pool is to be seen by, in turn, each family its own.
func TestSources(t *testing.T) {
	f := func(backend string, want ...string) {
		t.Helper()
		at := listenTCP(t, backend)
		r := newRig(t, rigConfig{backends: []pool.Address{tcpAddress(at.Addr())}, listener: func(l *ListenerConfig) {
			l.Target.Sources = ips("127.0.0.2", "::1", "127.0.0.3")
		}})
		seen := map[string]int{}
		for range 2 * len(want) {
			r.dial()
			seen[r.acceptFrom(at).RemoteAddr().(*net.TCPAddr).IP.String()]++
		}
		for _, source := range want {
			if seen[source] != 2 {
				t.Errorf("%s is connected to from %v, want from each of %v twice", backend, seen, want)
			}
		}
	}
	f("127.0.0.1:0", "127.0.0.2", "127.0.0.3")
	f("[::1]:0", "::1")
}

// A source whose ports are used up is passed by, and when all are, sessions wait.
func TestSourcesHavePortsOfTheirOwn(t *testing.T) {
	ownNetwork(t, 40000, 40001)
	at := listenTCP(t, "127.0.0.1:1001")
	r := newRig(t, rigConfig{
		bind:     []pool.Address{{Unix: filepath.Join(t.TempDir(), "front")}},
		backends: []pool.Address{tcpAddress(at.Addr())}, connect: time.Second,
		listener: func(l *ListenerConfig) { l.Target.Sources = ips("127.0.0.2", "127.0.0.3") },
	})
	var open [][2]conn
	for range 4 {
		open = append(open, [2]conn{r.dial(), r.acceptFrom(at)})
	}
	if n := r.pool.Backends()[0].Stats().Obstacles[pool.NoPort]; n != 0 {
		t.Errorf("%d obstacles while a source has ports", n)
	}
	c := r.dial()
	r.untilPutOff()
	r.expectNoBlame(0, pool.NoPort)
	reset(open[1][server])
	r.expectEnd(ServerReset)
	r.now += 2 * longestPause
	r.exchange(c, r.acceptFrom(at), 2)
}

// An address that is not of this machine is passed by, too.
func TestSourceThatIsNotHere(t *testing.T) {
	at := listenTCP(t, "127.0.0.1:0")
	r := newRig(t, rigConfig{backends: []pool.Address{tcpAddress(at.Addr())}, listener: func(l *ListenerConfig) {
		l.Target.Sources = ips("203.0.113.1", "127.0.0.2")
	}})
	for range 3 {
		r.exchange(r.dial(), r.acceptFrom(at), 2)
	}
	if stats := r.pool.Backends()[0].Stats(); stats.Connects != 3 || stats.Obstacles != [4]uint64{} {
		t.Errorf("%+v, want three connects and nothing in the way", stats)
	}
}

// A cancel request comes from where its session does.
func TestCancelFromSource(t *testing.T) {
	r, listeners := cancelRig(t, rigConfig{listener: func(l *ListenerConfig) { l.Target.Sources = ips("127.0.0.2") }}, 1)
	key := cancelKey(1, 4)
	r.loginAt(listeners, 0, key)
	c := r.dial()
	r.write(c, cancelRequest(key))
	s := r.expectCancel(listeners[0], cancelRequest(key))
	if from := s.RemoteAddr().(*net.TCPAddr).IP.String(); from != "127.0.0.2" {
		t.Errorf("it comes from %s, want 127.0.0.2", from)
	}
	s.Close()
	r.expectFIN(c)
	r.expectEnd(ServerClosed)
}
