package l4

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/pool"
	"sluice/sysutil/systest"
)

// What a client asks of a backend with its first byte.
const (
	askEcho  = 'e' // send everything back until FIN, then FIN
	askClose = 'c' // FIN at once
	askReset = 'r' // RST at once
	askMuch  = 'm' // send a lot, then FIN
	askFlood = 'f' // send enough for splice, then FIN
	askCut   = 'x' // send a lot, then RST
	askLate  = 'l' // read until FIN, then answer one byte and FIN
)

const much, flood = 20_000, 300_000

// A chaos is a backend at which anything happens. From time to time it stops
// listening for a while.
type chaos struct {
	address  string
	mu       sync.Mutex
	listener net.Listener
	conns    sync.WaitGroup
}

func newChaos(t *testing.T, ip string) *chaos {
	t.Helper()
	b := &chaos{}
	b.address = ip + ":0"
	b.listen()
	b.address = b.listener.Addr().String()
	return b
}

func (b *chaos) listen() {
	listener, err := net.Listen("tcp", b.address)
	if err != nil {
		return // a connection has the port: the backend refuses on
	}
	b.mu.Lock()
	b.listener = listener
	b.mu.Unlock()
	b.conns.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			b.conns.Go(func() { serveChaos(c.(*net.TCPConn)) })
		}
	})
}

func (b *chaos) refuse() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.listener.Close()
}

func (b *chaos) stop() {
	b.refuse()
	b.conns.Wait()
}

var muchData, floodData = random(1, much), random(2, flood)

func serveChaos(c *net.TCPConn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(patient))
	if rand.IntN(100) == 0 { // does not even listen to what is asked
		if rand.IntN(2) == 0 {
			c.SetLinger(0)
		}
		return
	}
	ask := make([]byte, 1)
	if _, err := io.ReadFull(c, ask); err != nil {
		return
	}
	switch ask[0] {
	case askEcho:
		io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
	case askReset:
		c.SetLinger(0)
	case askMuch:
		c.Write(muchData)
	case askFlood:
		c.Write(floodData)
	case askCut:
		c.Write(muchData[:rand.IntN(much)])
		c.SetLinger(0)
	case askLate:
		io.Copy(io.Discard, c)
		c.Write(ask)
	}
}

// clientChaos opens one session and ends it in one of many ways. What it
// returns is not an error of the connection, which may happen at any point, but
// something that no broken connection explains.
func clientChaos(source netip.Addr, address string, rnd *rand.Rand) error {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: source.AsSlice()}, Timeout: patient}
	raw, err := dialer.Dial("tcp", address)
	if err != nil {
		if errors.Is(err, syscall.ECONNRESET) {
			return nil // ended before the dialer looked
		}
		return fmt.Errorf("dial: %w", err)
	}
	c := raw.(*net.TCPConn)
	defer c.Close()
	c.SetDeadline(time.Now().Add(patient))
	if rnd.IntN(2) == 0 {
		defer c.SetLinger(0) // before Close: whatever happened, it ends with RST
	}
	var buf [256]byte
	switch rnd.IntN(12) {
	case 0: // nothing at all
	case 1:
		c.CloseWrite()
		_, err = c.Read(buf[:])
	case 2: // does not wait for the answer
		_, err = c.Write([]byte{askMuch})
	case 3:
		c.Write([]byte{askMuch})
		_, err = io.ReadFull(c, buf[:rnd.IntN(len(buf))])
	case 4:
		err = askAndCompare(c, askMuch, muchData)
	case 5:
		if rnd.IntN(2) == 0 {
			err = askAndCompare(c, askFlood, floodData)
		}
	case 6:
		err = askAndCompare(c, askCut, nil)
	case 7:
		err = askAndCompare(c, []byte{askClose, askReset}[rnd.IntN(2)], nil)
	case 8:
		err = askAndCompare(c, askLate, []byte{askLate})
	default:
		err = askEchoOf(c, buf[:1+rnd.IntN(len(buf)-1)])
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, errDifferent) {
		return err
	}
	return nil
}

var errDifferent = errors.New("what arrived is not what was sent")

// askAndCompare reads an answer to its end. It may be cut by a reset, but not
// by a FIN unless the backend took no notice of what it was asked.
func askAndCompare(c *net.TCPConn, ask byte, want []byte) error {
	if _, err := c.Write([]byte{ask}); err != nil {
		return err
	}
	if ask == askLate {
		c.CloseWrite()
	}
	got, err := io.ReadAll(c)
	if err == nil && want != nil && len(got) > 0 && string(got) != string(want) {
		return fmt.Errorf("%w: %d bytes and FIN, want %d", errDifferent, len(got), len(want))
	}
	return err
}

func askEchoOf(c *net.TCPConn, buf []byte) error {
	buf[0] = askEcho
	for i := range buf[1:] {
		buf[1+i] = byte(i)
	}
	if _, err := c.Write(buf); err != nil {
		return err
	}
	got := make([]byte, len(buf)-1)
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != string(buf[1:]) {
		return errDifferent
	}
	return nil
}

// After twenty thousand sessions that ended in every way there is, every
// counter is true, and nothing is left.
func TestCountersAreTrue(t *testing.T) {
	const sessions, clients, backends, loops = 20_000, 64, 6, 2
	before := systest.OpenFiles()
	var all []*chaos
	config := pool.Config{Name: "pool", Shards: loops}
	for i := range backends {
		b := newChaos(t, fmt.Sprintf("127.0.1.%d", i+1))
		all = append(all, b)
		bc := pool.BackendConfig{
			Name: fmt.Sprint("b", i), Weight: 1 + i%2,
			Address: pool.Address{TCP: netip.MustParseAddrPort(b.address)},
		}
		if i == 1 {
			bc.MaxConns = 3
		}
		config.Backends = append(config.Backends, bc)
	}
	p := must(pool.New(config))
	var reported [numReasons]atomic.Uint64
	srv := startServer(t, loops, p, ListenerConfig{
		IdleTimeout: time.Minute, FinTimeout: 30 * time.Second,
		Target: Target{ConnectTimeout: 5 * time.Second, Retries: 2},
	}, func(e End) { reported[e.Reason].Add(1) })

	stopTrouble := trouble(all[backends-2:])
	var done sync.WaitGroup
	var left atomic.Int64
	left.Store(sessions)
	for i := range clients {
		rnd := rand.New(rand.NewPCG(1, uint64(i)))
		source := netip.AddrFrom4([4]byte{127, 0, 2, byte(i + 1)})
		done.Go(func() {
			for left.Add(-1) >= 0 {
				if err := clientChaos(source, srv.testAddress(), rnd); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done.Wait()
	stopTrouble()
	eventually(t, "all sessions have ended", func() bool { return srv.sessionCount() == 0 })
	expectTruth(t, srv, p, sessions, &reported)
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	for _, b := range all {
		b.stop()
	}
	if left := systest.LeftFiles(before, patient); len(left) > 0 {
		t.Errorf("descriptors left open: %v", left)
	}
	if left := leftGoroutines("l4.TestCountersAreTrue("); left != "" {
		t.Errorf("goroutines left running:\n%s", left)
	}
}

// trouble makes backends refuse for a while, again and again.
func trouble(backends []*chaos) (stop func()) {
	stopped := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		pace := time.NewTicker(100 * time.Millisecond)
		defer pace.Stop()
		for i := 0; ; i++ {
			b := backends[i/2%len(backends)]
			if i%2 == 0 {
				b.refuse()
			} else {
				b.listen()
			}
			select {
			case <-pace.C:
			case <-stopped:
				return
			}
		}
	})
	return func() { close(stopped); running.Wait() }
}

func expectTruth(t *testing.T, srv *Server, p *pool.Pool, sessions uint64, reported *[numReasons]atomic.Uint64) {
	t.Helper()
	stats := srv.Stats()
	l := stats.Listeners[0]
	if l.Accepts != sessions || endedTotal(stats) != sessions || l.Sessions != 0 {
		t.Errorf("%d accepts, %d ended, %d open; want %d, %d, 0", l.Accepts, endedTotal(stats), l.Sessions, sessions, sessions)
	}
	for _, e := range stats.Ended {
		if n := reported[e.Reason].Load(); n != e.Count {
			t.Errorf("%v: %d counted, %d reported", e.Reason, e.Count, n)
		}
		t.Logf("%v: %d", e.Reason, e.Count)
	}
	for _, want := range []Reason{ClientClosed, ServerClosed, ClientReset, ServerReset} {
		if reported[want].Load() < sessions/100 {
			t.Errorf("%v: %d sessions, want at least %d for the test to mean something", want, reported[want].Load(), sessions/100)
		}
	}
	refused := uint64(0)
	for _, b := range p.Backends() {
		s := b.Stats()
		if s.Active != 0 {
			t.Errorf("backend %s has %d active connections in the end", s.Name, s.Active)
		}
		refused += s.ConnectFailures[pool.DialRefused]
	}
	if refused == 0 {
		t.Error("no connect was refused")
	}
	if stats.Pipes.Lent != 0 {
		t.Errorf("%d pipes are lent in the end", stats.Pipes.Lent)
	}
}
