package l4

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/pool"
	"sluice/sysutil/systest"
)

// A named is a backend that says who it is with every byte it gets.
func newNamed(t *testing.T, name byte) *echo {
	t.Helper()
	e := &echo{Listener: listenTCP(t, "127.0.0.1:0")}
	e.conns.Go(func() {
		for {
			c, err := e.Accept()
			if err != nil {
				return
			}
			e.conns.Go(func() {
				defer c.Close()
				for buf := make([]byte, 64); ; {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					for i := range buf[:n] {
						buf[i] = name
					}
					if _, err := c.Write(buf[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	return e
}

// ask sends a byte and returns the name of the backend that has answered.
func ask(c net.Conn) (byte, error) {
	buf := []byte("?")
	if _, err := c.Write(buf); err != nil {
		return 0, err
	}
	_, err := io.ReadFull(c, buf)
	return buf[0], err
}

// dialAt connects to an address that a server listens at.
func dialAt(a pool.Address) (net.Conn, error) {
	to := a.TCP.String()
	if a.IsUnix() {
		to = a.Unix
	}
	c, err := net.Dial(a.Network(), to)
	if err == nil {
		c.SetDeadline(time.Now().Add(patient))
	}
	return c, err
}

// freePorts returns addresses that nobody listens at.
func freePorts(t *testing.T, n int) (list []pool.Address) {
	t.Helper()
	for range n {
		l := listenTCP(t, "127.0.0.1:0")
		defer l.Close()
		list = append(list, tcpAddress(l.Addr()))
	}
	return list
}

// put puts listeners in force on a server that runs.
func put(t *testing.T, srv *Server, listeners ...ListenerConfig) {
	t.Helper()
	p, err := srv.Prepare(Update{Listeners: listeners, MaxSessions: int(srv.places.limit.Load())})
	if err != nil {
		t.Fatal(err)
	}
	p.Commit()
}

// Listeners come, go, change names, places and pools while clients connect, ask and leave.
// At addresses that stay none of them notices, nor do those who are there all the time.
func TestUpdateUnderLoad(t *testing.T) {
	const loops, updates, clients = 2, 200, 4
	backends := []*echo{newNamed(t, 'a'), newNamed(t, 'b')}
	var pools []*pool.Pool
	for i, b := range backends {
		c := pool.Config{Name: fmt.Sprintf("pool %d", i), Shards: loops}
		c.Backends = []pool.BackendConfig{{Name: "only", Address: tcpAddress(b.Addr()), Weight: 1}}
		pools = append(pools, must(pool.New(c)))
	}
	ports := freePorts(t, 4)
	stay := []pool.Address{ports[0], ports[1], {Unix: filepath.Join(t.TempDir(), "stay")}}
	come := []pool.Address{ports[2], ports[3], {Unix: filepath.Join(t.TempDir(), "come")}}
	listener := func(name string, p int, bind ...pool.Address) ListenerConfig {
		return ListenerConfig{Name: name, Target: Target{Pool: pools[p]}, Bind: bind}
	}
	configs := [][]ListenerConfig{
		{listener("one", 0, stay[0]), listener("two", 0, stay[1], stay[2])},
		{listener("two", 1, stay[1], come[0]), listener("three", 0, stay[0], stay[2])},
		{listener("one", 1, stay...), listener("four", 0, come...)},
		{listener("three", 1, stay[2]), listener("four", 1, come[2], stay[1]), listener("one", 0, stay[0])},
		{listener("one", 0, stay[1]), listener("two", 0, stay[0], stay[2])},
	}
	before := systest.OpenFiles()
	srv := must(New(Config{Loops: loops, Listeners: configs[0], Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}))
	must(0, srv.Start())
	var long []net.Conn
	for i := range 30 {
		c := must(dialAt(stay[i%len(stay)]))
		if who, err := ask(c); who != 'a' {
			t.Fatalf("a long session: %q, %v", who, err)
		}
		long = append(long, c)
	}
	var over atomic.Bool
	var load sync.WaitGroup
	var asked [3]atomic.Int64
	defer load.Wait()
	defer over.Store(true)
	for i := range clients * len(stay) {
		load.Go(func() {
			for !over.Load() {
				c, err := dialAt(stay[i%len(stay)])
				if err == nil {
					_, err = ask(c)
					c.Close()
				}
				if err != nil {
					t.Errorf("at %s: %v", stay[i%len(stay)], err)
					return
				}
				asked[i%len(stay)].Add(1)
			}
		})
	}
	var files int
	for i := range updates {
		put(t, srv, configs[i%len(configs)]...)
		if i%len(configs) == 0 {
			if n := len(srv.doors()); i > 0 && n != files {
				t.Errorf("%d sockets after %d updates, want %d", n, i, files)
			}
			files = len(srv.doors())
		}
		if c := long[i%len(long)]; i%7 == 0 {
			if who, err := ask(c); who != 'a' {
				t.Fatalf("a long session after %d updates: %q, %v", i+1, who, err)
			}
		}
	}
	over.Store(true)
	load.Wait()
	for i := range asked {
		if asked[i].Load() == 0 {
			t.Errorf("at %s nobody was served", stay[i])
		}
	}
	for _, c := range long {
		if who, err := ask(c); who != 'a' {
			t.Errorf("a long session in the end: %q, %v", who, err)
		}
		c.Close()
	}
	put(t, srv, configs[0]...)
	eventually(t, "all sessions have ended", func() bool { return srv.sessionCount() == 0 })
	put(t, srv, configs[0]...)
	if set := srv.set.Load(); len(set.leaving) != 0 || len(*set.active[0].earlier.Load()) != 0 {
		t.Errorf("%d listeners and %d rules are kept for nobody", len(set.leaving), len(*set.active[0].earlier.Load()))
	}
	for _, p := range pools {
		if n := p.Backends()[0].Stats().Active; n != 0 {
			t.Errorf("%s has %d sessions", p.Name(), n)
		}
	}
	shutDown(t, srv)
	for _, b := range backends {
		b.stop()
	}
	if left := systest.LeftFiles(before, patient); len(left) > 0 {
		t.Errorf("descriptors left open: %v", left)
	}
}
