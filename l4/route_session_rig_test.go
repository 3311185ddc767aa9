package l4

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"sluice/l4/route"
	"sluice/pool"
)

// A routedRig is a rig whose listener has several pools. The test serves their
// backends.
type routedRig struct {
	*rig
	pools map[string]*pool.Pool
	at    map[string][]net.Listener // by pool
}

// A routeTo is a route to a pool of that name.
type routeTo struct {
	route.Rule
	pool string
}

func sni(pool string, names ...string) routeTo { return routeTo{route.Rule{SNI: names}, pool} }

// newRoutedRig is newRig with these routes. Sessions that none of them takes go to the pool
// fallback, "" = nowhere. Every pool has so many backends.
func newRoutedRig(t testing.TB, c rigConfig, backends int, fallback string, routes ...routeTo) *routedRig {
	t.Helper()
	r := &routedRig{pools: map[string]*pool.Pool{}, at: map[string][]net.Listener{}}
	names := []string{fallback}
	for _, to := range routes {
		names = append(names, to.pool)
	}
	for _, name := range names {
		if name != "" && r.pools[name] == nil {
			r.at[name], r.pools[name] = namedPool(t, c, name, backends) // before newRig looks at what is open
		}
	}
	edit := c.listener
	c.listener = func(l *ListenerConfig) {
		model := l.Target
		target := func(name string) Target {
			model.Pool = r.pools[name]
			return model
		}
		for _, to := range routes {
			l.Routes = append(l.Routes, RoutedTarget{to.Rule, target(to.pool)})
		}
		l.Target = target(fallback)
		if edit != nil {
			edit(l)
		}
	}
	if c.peek == 0 {
		c.peek = 5 * time.Second
	}
	r.rig = newRig(t, c)
	r.pool = nil // no session goes there
	return r
}

// namedPool is a pool whose backends are called as it is, with a number behind.
func namedPool(t testing.TB, c rigConfig, name string, backends int) ([]net.Listener, *pool.Pool) {
	t.Helper()
	listeners, addresses := listenMany(t, backends)
	config := pool.Config{Name: name, Balance: pool.First, Shards: 1, QueueMax: c.queueMax}
	for i, a := range addresses {
		config.Backends = append(config.Backends, pool.BackendConfig{
			Name: fmt.Sprint(name, i), Address: a, Weight: 1, MaxConns: c.maxConns,
		})
	}
	return listeners, must(pool.New(config))
}

// put sends what the kernel takes at once, which has to be all.
func (r *rig) put(c conn, data []byte) {
	r.t.Helper()
	if n := trySend(c, data); n != len(data) {
		r.t.Fatalf("sent %d of %d bytes", n, len(data))
	}
}

// take is acceptFrom without a goroutine, for tests of many sessions.
func (r *rig) take(listener net.Listener) conn {
	r.t.Helper()
	var c net.Conn
	raw := must(listener.(*net.TCPListener).SyscallConn())
	r.until("a connection comes", func() bool {
		raw.Control(func(fd uintptr) { c = acceptNow(int(fd)) })
		return c != nil
	})
	return r.keep(c)
}

// acceptNow returns nil when nobody has connected.
func acceptNow(fd int) net.Conn {
	accepted, _, err := syscall.Accept4(fd, syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK)
	if err != nil {
		return nil
	}
	file := os.NewFile(uintptr(accepted), "accepted")
	defer file.Close()
	return must(net.FileConn(file))
}

// get is expect without a goroutine, for tests of many sessions.
func (r *rig) get(c conn, want []byte) {
	r.t.Helper()
	got := make([]byte, 0, len(want)+1)
	for end := time.Now().Add(patient); len(got) < len(want); {
		n, err := receiveNow(c, got[len(got):len(want)])
		got = got[:len(got)+n]
		switch {
		case n > 0:
		case err == syscall.EAGAIN && time.Now().Before(end):
			r.step()
		default:
			r.t.Fatalf("read %s, %v; want %s; sessions: %s", brief(got), err, brief(want), r.describe())
		}
	}
	if !bytes.Equal(got, want) {
		r.t.Fatalf("read %s, want %s", brief(got), brief(want))
	}
}

// restNow is rest without a goroutine, for tests of many sessions.
func (r *rig) restNow(c conn) (data []byte, err error) {
	r.t.Helper()
	buf := make([]byte, 4<<10)
	r.until("the connection ends", func() bool {
		var n int
		n, err = receiveNow(c, buf)
		data = append(data, buf[:n]...)
		return n == 0 && err != syscall.EAGAIN
	})
	return data, err
}

// putAll is put of what may be too much for one call.
func (r *rig) putAll(c conn, data []byte) {
	r.t.Helper()
	r.until("all is sent", func() bool {
		data = data[trySend(c, data):]
		return len(data) == 0
	})
}

// dialNow is dial for tests of many sessions: nothing is left of it once it is closed.
func (r *rig) dialNow() conn {
	r.t.Helper()
	return r.keep(must(net.Dial("tcp", r.address().TCP.String())))
}

// quick is a few bytes each way, one after the other.
func (r *rig) quick(ends [2]conn) {
	r.t.Helper()
	for i := range 2 {
		for _, from := range []side{server, client} {
			message := random(byte(i), 1+200*i)
			r.put(ends[from], message)
			r.get(ends[from.other()], message)
		}
	}
}

// expectHello takes a connection and what a TLS session must bring it.
func (r *rig) expectHello(c conn, at net.Listener, want ...[]byte) (ends [2]conn) {
	r.t.Helper()
	ends = [2]conn{client: c, server: r.take(at)}
	r.get(ends[server], slices.Concat(want...))
	return ends
}

// finish ends a relaying session and checks where it was and what it was counted.
func (r *rig) finish(ends [2]conn, pool, name string, sent, received int) {
	r.t.Helper()
	reset(ends[client])
	end := r.expectEnd(ClientReset)
	ends[server].Close()
	if end.Pool != pool || end.ServerName != name || end.Sent != uint64(sent) || end.Received != uint64(received) ||
		end.Retries != 0 {
		r.t.Fatalf("ended with %+v, want pool %s, name %q, %d bytes sent, %d received", end, pool, name, sent, received)
	}
}

// untilConnecting waits until a connect for the newest session is under way.
func (r *rig) untilConnecting() {
	r.t.Helper()
	r.until("the connect is under way", func() bool { s := r.newest(); return s != nil && s.state == stateConnecting })
}

// untilAnswering waits until a backend has all of the newest session's first packet.
func (r *rig) untilAnswering() {
	r.t.Helper()
	r.until("the answer is awaited", func() bool {
		s := r.newest()
		return s != nil && s.state == stateAnswering && !s.halves[client].unsent()
	})
}

// quickBytes is how many bytes quick sends each way.
const quickBytes = 1 + 201

// expectUnasked checks that no backend was connected to.
func (r *routedRig) expectUnasked(but ...string) {
	r.t.Helper()
	for name, p := range r.pools {
		for _, b := range p.Backends() {
			if stats := b.Stats(); stats.Connects != 0 && !slices.Contains(but, name) {
				r.t.Errorf("%d connects to backend %s, want none", stats.Connects, b.Name())
			}
		}
	}
}

// bufferOf is a reader of data, all of which is in its buffer.
func bufferOf(data []byte) *bufio.Reader {
	reader := bufio.NewReaderSize(bytes.NewReader(data), len(data))
	reader.Peek(len(data))
	return reader
}
