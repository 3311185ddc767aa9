package l4

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/pool"
	"sluice/sysutil/systest"
)

// A postgresServer answers each login at once, and then sends everything back.
type postgresServer struct {
	net.Listener
	conns sync.WaitGroup
	keys  atomic.Uint64
}

func newPostgresServer(t *testing.T) *postgresServer {
	t.Helper()
	p := &postgresServer{Listener: listenTCP(t, "127.0.0.1:0")}
	p.conns.Go(func() {
		for {
			c, err := p.Accept()
			if err != nil {
				return
			}
			p.conns.Go(func() { p.serve(c) })
		}
	})
	return p
}

func (p *postgresServer) serve(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(patient))
	if _, err := io.ReadFull(c, make([]byte, len(startup))); err != nil {
		return
	}
	key := fmt.Appendf(nil, "%p %d", p, p.keys.Add(1))
	if _, err := c.Write(loginAnswer(key)); err != nil {
		return
	}
	io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
}

func (p *postgresServer) stop() {
	p.Close()
	p.conns.Wait()
}

var errRefused = errors.New("refused with an ErrorResponse")

func logIn(c net.Conn) error {
	if _, err := c.Write(startup); err != nil {
		return err
	}
	return readLogin(c)
}

// readLogin reads the answer to a start-up to its end.
func readLogin(c net.Conn) error {
	for {
		var head [5]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return err
		}
		body := make([]byte, int(head[1])<<24|int(head[2])<<16|int(head[3])<<8|int(head[4])-4)
		if _, err := io.ReadFull(c, body); err != nil {
			return err
		}
		switch head[0] {
		case 'Z':
			return nil
		case 'E':
			if _, err := c.Read(head[:]); err != io.EOF {
				return fmt.Errorf("%w: %w after an ErrorResponse, want a FIN", errDifferent, err)
			}
			return fmt.Errorf("%w: %q", errRefused, body)
		}
	}
}

// postgresChaos is one session that logs in, has a few answers, and leaves somehow.
func postgresChaos(address string, rnd *rand.Rand) error {
	raw, err := net.Dial("tcp", address)
	if err != nil {
		return nil
	}
	c := raw.(*net.TCPConn)
	defer c.Close()
	c.SetDeadline(time.Now().Add(patient))
	if rnd.IntN(4) == 0 {
		defer c.SetLinger(0)
	}
	if rnd.IntN(20) == 0 { // leaves before it is answered
		c.Write(startup[:rnd.IntN(len(startup)+1)])
		return nil
	}
	if err := logIn(c); err != nil {
		return err
	}
	buf := random(byte(rnd.Uint32()), 1+rnd.IntN(300))
	got := make([]byte, len(buf))
	for range rnd.IntN(5) {
		if _, err := c.Write(buf); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, got); err != nil {
			return err
		}
		if string(got) != string(buf) {
			return errDifferent
		}
	}
	return nil
}

// expectReported checks that what was counted by reason is what was reported.
func expectReported(t *testing.T, stats Stats, reported *[numReasons]atomic.Uint64) {
	t.Helper()
	var counted [numReasons]uint64
	for _, e := range stats.Ended {
		counted[e.Reason] += e.Count
	}
	for reason, n := range counted {
		if n != reported[reason].Load() {
			t.Errorf("%v: %d counted, %d reported", Reason(reason), n, reported[reason].Load())
		}
		if n > 0 {
			t.Logf("%v: %d", Reason(reason), n)
		}
	}
}

// Backends that go down and come back a thousand times under load leak nothing, and
// every count is exact.
func TestFlappingBackends(t *testing.T) {
	const flaps, loops, clients = 1000, 2, 24
	before := systest.OpenFiles()
	backends := []*postgresServer{newPostgresServer(t), newPostgresServer(t)}
	var addresses []pool.Address
	for _, b := range backends {
		addresses = append(addresses, tcpAddress(b.Addr()))
	}
	p := newQueuePool(t, loops, 8, 16, addresses...)
	var reported [numReasons]atomic.Uint64
	srv := startServer(t, loops, p, ListenerConfig{
		Protocol: ProtocolPostgres, PeekTimeout: 5 * time.Second, IdleTimeout: time.Minute,
		Target: Target{ConnectTimeout: 5 * time.Second, Retries: 3, QueueTimeout: 10 * time.Second, SendProxy: ProxyOff},
	}, func(e End) { reported[e.Reason].Add(1) })

	var load sync.WaitGroup
	var over atomic.Bool
	var served, refused atomic.Int64
	for i := range clients {
		rnd := rand.New(rand.NewPCG(3, uint64(i)))
		load.Go(func() {
			for !over.Load() {
				switch err := postgresChaos(srv.testAddress(), rnd); {
				case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, errDifferent), errors.Is(err, io.ErrUnexpectedEOF):
					t.Error(err)
				case errors.Is(err, errRefused):
					refused.Add(1)
				case err == nil:
					served.Add(1)
				}
			}
		})
	}
	rnd := rand.New(rand.NewPCG(3, 3))
	ended := 0
	for i := range flaps {
		b := p.Backends()[rnd.IntN(2)]
		b.SetUp(false)
		srv.Redispatch(b)
		ended += srv.EndSessions(b, BackendDown, rnd.IntN(4))
		if i%10 == 0 { // let some get through, and wait, with one of two
			so := served.Load()
			eventually(t, "others are served", func() bool { return served.Load() > so })
		}
		b.SetUp(true)
	}
	over.Store(true)
	load.Wait()
	eventually(t, "all sessions have ended", func() bool { return srv.sessionCount() == 0 })
	stats := srv.Stats()
	if l := stats.Listeners[0]; l.Accepts != endedTotal(stats) || l.Sessions != 0 {
		t.Errorf("%d accepts, %d ended, %d open", l.Accepts, endedTotal(stats), l.Sessions)
	}
	expectReported(t, stats, &reported)
	t.Logf("%d served, %d refused, %d ended", served.Load(), refused.Load(), ended)
	if n := reported[BackendDown].Load(); n != uint64(ended) || n == 0 || served.Load() < 1000 {
		t.Errorf("%d sessions ended as backend_down, want %d, which EndSessions returned; %d served", n, ended, served.Load())
	}
	for _, b := range p.Backends() {
		if s := b.Stats(); s.Active != 0 {
			t.Errorf("backend %s has %d active connections in the end", s.Name, s.Active)
		}
	}
	if n := len(srv.cancelKeys.owners); n != 0 {
		t.Errorf("%d cancel keys are remembered in the end", n)
	}
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if n := srv.pipes.Open(); n != 0 {
		t.Errorf("%d pipes are open in the end", n)
	}
	for _, b := range backends {
		b.stop()
	}
	if left := systest.LeftFiles(before, patient); len(left) > 0 {
		t.Errorf("descriptors left open: %s", strings.Join(left, ", "))
	}
	if left := leftGoroutines("l4.TestFlappingBackends("); left != "" {
		t.Errorf("goroutines left running:\n%s", left)
	}
}
