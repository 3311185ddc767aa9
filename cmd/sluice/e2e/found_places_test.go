package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/sysutil/systest"
)

// places are servers at many addresses of this machine, all at one port. What a client says comes back after the number of
// the place.
type places struct {
	t    *testing.T
	port int
	mu   sync.Mutex
	all  map[int]*place
	done sync.WaitGroup
}

// A place is one of them.
type place struct {
	listener net.Listener
	served   int // sessions: connections that have said something
	open     int // those that have not ended
}

// placesNet is where places are: number n is its n-th address.
var placesNet = netip.MustParseAddr("127.0.77.0").As4()

func placeIP(n int) netip.Addr {
	ip := placesNet
	ip[3] = byte(n)
	return netip.AddrFrom4(ip)
}

func newPlaces(t *testing.T) *places {
	t.Helper()
	p := &places{t: t, port: systest.ReservePort(t), all: make(map[int]*place)}
	t.Cleanup(func() {
		for n := range p.all {
			p.close(n)
		}
		p.done.Wait()
	})
	return p
}

func (p *places) address(n int) string {
	return netip.AddrPortFrom(placeIP(n), uint16(p.port)).String()
}

// open lets clients in at places of these numbers.
func (p *places) open(numbers ...int) {
	p.t.Helper()
	for _, n := range numbers {
		l, err := net.Listen("tcp", p.address(n))
		if err != nil {
			p.t.Fatal(err)
		}
		p.mu.Lock()
		if p.all[n] == nil {
			p.all[n] = new(place)
		}
		one := p.all[n]
		one.listener = l
		p.mu.Unlock()
		p.done.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return // closed
				}
				p.done.Go(func() { p.serve(c, byte(n), one) })
			}
		})
	}
}

// close lets nobody in any more. Who is in stays.
func (p *places) close(n int) { p.all[n].listener.Close() }

func (p *places) serve(c net.Conn, number byte, at *place) {
	defer c.Close()
	answer := make([]byte, 1+question)
	answer[0] = number
	for first := true; ; first = false {
		if _, err := io.ReadFull(c, answer[1:]); err != nil {
			return
		}
		if first {
			p.mu.Lock()
			at.served++
			at.open++
			p.mu.Unlock()
			defer func() {
				p.mu.Lock()
				at.open--
				p.mu.Unlock()
			}()
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

// served is how many sessions a place has had.
func (p *places) served(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all[n].served
}

// opens returns how many sessions there are at each place.
func (p *places) opens() map[int]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[int]int)
	for n, one := range p.all {
		if one.open > 0 {
			all[n] = one.open
		}
	}
	return all
}

// A caller is a session that knows at which place it is.
type caller struct {
	net.Conn
	pool  string
	place int
	asked uint64
}

// visitPlace opens a session that is answered.
func visitPlace(address, pool string) (*caller, error) {
	c, err := net.DialTimeout("tcp", address, patient)
	if err != nil {
		return nil, err
	}
	g := &caller{Conn: c, pool: pool}
	if err := g.ask(); err != nil {
		c.Close()
		return nil, err
	}
	return g, nil
}

// ask checks that the place answers that has answered before.
func (g *caller) ask() error {
	g.SetDeadline(time.Now().Add(patient))
	asks, answer := make([]byte, question), make([]byte, 1+question)
	binary.BigEndian.PutUint64(asks, g.asked)
	if _, err := g.Write(asks); err != nil {
		return err
	}
	if _, err := io.ReadFull(g, answer); err != nil {
		return err
	}
	if !bytes.Equal(answer[1:], asks) {
		return fmt.Errorf("%q comes back, want %q", answer[1:], asks)
	}
	if g.asked++; g.place != 0 && g.place != int(answer[0]) {
		return fmt.Errorf("place %d answers, and it was %d", answer[0], g.place)
	}
	g.place = int(answer[0])
	return nil
}

// askOn asks until the session ends.
func (g *caller) askOn() {
	for g.ask() == nil {
		time.Sleep(pollEvery)
	}
}

// callers are clients that come, ask and go, all the time.
type callers struct {
	t       *testing.T
	over    chan struct{}
	came    chan string // the pool of one that was served
	clients sync.WaitGroup
	mu      sync.Mutex
	served  map[string]int // by pool
	slowest map[string]time.Duration
}

// sendCallers lets two clients at a time come to each address, by pool, until stop.
func sendCallers(t *testing.T, addresses map[string]string) *callers {
	all := &callers{t: t, over: make(chan struct{}), came: make(chan string), served: make(map[string]int), slowest: make(map[string]time.Duration)}
	for pool, address := range addresses {
		for range 2 {
			all.clients.Go(func() { all.come(pool, address) })
		}
	}
	return all
}

func (all *callers) come(pool, address string) {
	rest := time.NewTicker(restOfClient)
	defer rest.Stop()
	for {
		began := time.Now()
		g, err := visitPlace(address, pool)
		if err != nil {
			all.t.Errorf("a client of %s: %v", pool, err)
			return
		}
		g.Close()
		all.mu.Lock()
		all.served[pool]++
		all.slowest[pool] = max(all.slowest[pool], time.Since(began))
		all.mu.Unlock()
		select {
		case <-all.over:
			return
		case all.came <- pool:
		case <-rest.C:
		}
	}
}

// more waits until n more clients of a pool were served, who have come since.
func (all *callers) more(pool string, n int) {
	all.t.Helper()
	late := time.After(patient)
	for n += 2; n > 0; { // two may have come before
		select {
		case of := <-all.came:
			if of == pool {
				n--
			}
		case <-late:
			all.t.Fatalf("clients of %s are not served", pool)
		}
	}
}

// add counts what callers before these have seen.
func (all *callers) add(before *callers) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for pool, n := range before.served {
		all.served[pool] += n
		all.slowest[pool] = max(all.slowest[pool], before.slowest[pool])
	}
}

// String says how many were served, and how long the slowest took.
func (all *callers) String() string {
	var text []string
	for _, pool := range slices.Sorted(maps.Keys(all.served)) {
		text = append(text, fmt.Sprintf("%d of %s, the slowest in %v", all.served[pool], pool, all.slowest[pool].Round(time.Microsecond)))
	}
	return strings.Join(text, "; ")
}

// stop returns when all clients have gone.
func (all *callers) stop() {
	all.t.Helper()
	close(all.over)
	all.clients.Wait()
	if all.t.Failed() {
		all.t.FailNow()
	}
}
