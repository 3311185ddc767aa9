package l4

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"syscall"
	"testing"

	"sluice/l4/clients"
	"sluice/pool"
)

// A naiveServer knows of a server what its configurations and its sessions say.
type naiveServer struct {
	active  []*naiveListener
	leaving []*naiveListener
	open    []*naiveSession
}

type naiveListener struct {
	config  naiveConfig
	version *naiveVersion   // of config
	earlier []*naiveVersion // that sessions had at the last update
	accepts uint64
	ended   map[int]uint64 // by pool
	refused uint64
	// forgotten are those that have ended on pools of which nothing is known any more.
	forgotten uint64
}

// A naiveConfig is a listener in numbers: of addresses and of a pool.
type naiveConfig struct {
	name             string
	bind             []int
	pool, max, quota int // 0 = no limit, of max and quota
}

// A naiveVersion is a configuration for as long as it is in force.
type naiveVersion struct {
	pool  int
	table *int // sessions of clients that are counted; nil = none are
}

type naiveSession struct {
	conn     conn
	listener *naiveListener
	version  *naiveVersion
	pool     int
	counted  bool
}

// sessions returns how many a listener has, and how many of them have had another
// configuration.
func (n *naiveServer) sessions(l *naiveListener) (all, outdated int) {
	for _, s := range n.open {
		if s.listener == l {
			all++
			if s.version != l.version {
				outdated++
			}
		}
	}
	return all, outdated
}

func (n *naiveServer) has(v *naiveVersion) bool {
	return slices.ContainsFunc(n.open, func(s *naiveSession) bool { return s.version == v })
}

func (n *naiveServer) update(configs []naiveConfig) {
	before := append(slices.Clone(n.active), n.leaving...)
	active := n.active
	n.active = nil
	for _, c := range configs {
		i := slices.IndexFunc(before, func(l *naiveListener) bool {
			all, _ := n.sessions(l)
			return l.config.name == c.name && (all > 0 || slices.Contains(active, l))
		})
		l := &naiveListener{ended: make(map[int]uint64)}
		if i >= 0 {
			l = before[i]
		}
		if l.version == nil || !reflect.DeepEqual(l.config, c) {
			l.change(c)
		}
		n.active = append(n.active, l)
	}
	n.leaving = nil
	for _, l := range before {
		if all, _ := n.sessions(l); all > 0 && !slices.Contains(n.active, l) {
			n.leaving = append(n.leaving, l)
		}
		l.earlier = slices.DeleteFunc(l.earlier, func(v *naiveVersion) bool { return !n.has(v) })
		for pool, ended := range l.ended {
			if pool != l.config.pool && !slices.ContainsFunc(l.earlier, func(v *naiveVersion) bool { return v.pool == pool }) {
				l.forgotten += ended
				delete(l.ended, pool)
			}
		}
	}
}

func (l *naiveListener) change(c naiveConfig) {
	next := &naiveVersion{pool: c.pool}
	if l.version != nil {
		l.earlier = append(l.earlier, l.version)
	}
	if c.quota > 0 {
		next.table = new(int)
		for _, v := range l.earlier {
			if v.table != nil {
				next.table = v.table
			}
		}
	}
	l.config, l.version = c, next
}

// at returns the listener of an address; nil = nobody listens there.
func (n *naiveServer) at(address int) *naiveListener {
	for _, l := range n.active {
		if slices.Contains(l.config.bind, address) {
			return l
		}
	}
	return nil
}

// A worldPlay is one run of a server and its model.
type worldPlay struct {
	*rig
	rnd       *rand.Rand
	n         naiveServer
	addresses []pool.Address
	pools     []*pool.Pool
}

const worldPools = "abc" // they are called so, and answer so

// Random configurations follow each other while sessions come and go, some of them refused or
// given up. After each step all is as a naive model has it: names and their order, addresses,
// who answers there, sessions, places and clients.
func TestUpdatesAgainstModel(t *testing.T) {
	var pools []*pool.Pool
	for _, name := range worldPools {
		b := newNamed(t, byte(name))
		t.Cleanup(b.stop)
		pools = append(pools, must(pool.New(pool.Config{Name: string(name), Backends: []pool.BackendConfig{
			{Name: "only", Address: tcpAddress(b.Addr()), Weight: 1},
		}})))
	}
	for seed := range uint64(4) {
		ok := t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			p := &worldPlay{rnd: rand.New(rand.NewPCG(seed, 11)), pools: pools, addresses: freePorts(t, 5)}
			for i := range 2 {
				p.addresses = append(p.addresses, pool.Address{Unix: filepath.Join(t.TempDir(), fmt.Sprint(i))})
			}
			first := p.random()
			p.rig = newRig(t, rigConfig{backends: []pool.Address{}, listener: func(l *ListenerConfig) { *l = p.listeners(first)[0] }})
			p.n.update(first[:1])
			for range 150 {
				p.act()
				p.compare()
			}
			for len(p.n.open) > 0 {
				p.close(0)
			}
			p.compare()
			for _, l := range p.n.active {
				p.forgotten += l.forgotten
			}
		})
		if !ok {
			return
		}
	}
}

// random returns listeners that share the addresses among them.
func (p *worldPlay) random() (configs []naiveConfig) {
	addresses := p.rnd.Perm(len(p.addresses))
	for _, i := range p.rnd.Perm(4)[:1+p.rnd.IntN(3)] {
		n := 1 + p.rnd.IntN(2)
		c := naiveConfig{name: fmt.Sprint("listener ", i), bind: addresses[:n], pool: p.rnd.IntN(len(p.pools))}
		if p.rnd.IntN(3) == 0 {
			c.quota = 1 + p.rnd.IntN(4)
		}
		if p.rnd.IntN(3) == 0 {
			c.max = 1 + p.rnd.IntN(6)
		}
		configs, addresses = append(configs, c), addresses[n:]
	}
	if len(p.n.active) > 0 && p.rnd.IntN(3) == 0 { // one is as it was
		old := p.n.active[0].config
		taken := func(c naiveConfig) bool {
			return c.name == old.name || slices.ContainsFunc(c.bind, func(a int) bool { return slices.Contains(old.bind, a) })
		}
		configs = append(slices.DeleteFunc(configs, taken), old)
	}
	return configs
}

func (p *worldPlay) listeners(configs []naiveConfig) (list []ListenerConfig) {
	for _, c := range configs {
		l := ListenerConfig{
			Name: c.name, Target: Target{Pool: p.pools[c.pool]}, MaxSessions: c.max, PerClient: clients.Limits{Sessions: c.quota},
		}
		for _, a := range c.bind {
			l.Bind = append(l.Bind, p.addresses[a])
		}
		list = append(list, l)
	}
	return list
}

func (p *worldPlay) act() {
	switch k := p.rnd.IntN(20); {
	case k < 5:
		p.change()
	case k < 6:
		must(p.srv.Prepare(Update{Listeners: p.listeners(p.random())})).Abandon()
	case k < 7:
		configs := p.random()
		twice := append(configs, naiveConfig{name: "twice", bind: []int{configs[0].bind[0]}})
		if _, err := p.srv.Prepare(Update{Listeners: p.listeners(twice)}); !errors.Is(err, syscall.EADDRINUSE) {
			p.t.Fatalf("Prepare: %v, want an address in use", err)
		}
	case k < 14 || len(p.n.open) == 0:
		p.come(p.rnd.IntN(len(p.addresses)))
	case k < 17:
		p.close(p.rnd.IntN(len(p.n.open)))
	default:
		p.ask(p.n.open[p.rnd.IntN(len(p.n.open))])
	}
}

// change updates the server. Sockets that stay are the same.
func (p *worldPlay) change() {
	before := make(map[pool.Address]*listenSocket)
	for _, d := range p.srv.doors() {
		before[d.address] = d.listenSocket
	}
	configs := p.random()
	p.update(p.listeners(configs)...)
	p.n.update(configs)
	for _, d := range p.srv.doors() {
		if old := before[d.address]; old != nil && old != d.listenSocket {
			p.t.Errorf("%s has another socket", d.address)
		}
	}
	for a := range p.addresses {
		p.come(a)
	}
}

// come begins a session at an address, where it may be let in.
func (p *worldPlay) come(a int) {
	l := p.n.at(a)
	if l == nil {
		if c, err := dialAt(p.addresses[a]); !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, os.ErrNotExist) {
			p.t.Fatalf("at %s: %v, %v; nobody should listen there", p.addresses[a], c, err)
		}
		return
	}
	if all, _ := p.n.sessions(l); l.config.max > 0 && all >= l.config.max {
		return // it would wait
	}
	l.accepts++
	s := &naiveSession{conn: p.dialTo(p.addresses[a]), listener: l, version: l.version, pool: l.config.pool}
	if _, isTCP := s.conn.(*net.TCPConn); isTCP && l.config.quota > 0 {
		if *l.version.table >= l.config.quota {
			p.until("it is refused", func() bool { return len(p.ended) > p.checked })
			p.expectEnd(ClientLimit)
			l.refused++
			s.conn.Close()
			return
		}
		s.counted = true
		*l.version.table++
	}
	p.n.open = append(p.n.open, s)
	p.ask(s)
}

// ask checks who answers.
func (p *worldPlay) ask(s *naiveSession) {
	p.write(s.conn, []byte("?"))
	p.expect(s.conn, []byte{worldPools[s.pool]})
}

func (p *worldPlay) close(i int) {
	s := p.n.open[i]
	s.conn.Close()
	p.expectEnd(ClientClosed)
	s.listener.ended[s.pool]++
	if s.counted {
		*s.version.table--
	}
	p.n.open = slices.Delete(p.n.open, i, i+1)
}

// compare holds the server against its model.
func (p *worldPlay) compare() {
	stats := p.srv.Stats()
	want := slices.Clone(p.n.active)
	for _, l := range p.n.leaving {
		if all, _ := p.n.sessions(l); all > 0 {
			want = append(want, l)
		}
	}
	if len(stats.Listeners) != len(want) {
		p.t.Fatalf("%+v: want %d listeners", stats.Listeners, len(want))
	}
	for i, l := range want {
		got := stats.Listeners[i]
		all, outdated := p.n.sessions(l)
		if got.Name != l.config.name || got.Leaving != (i >= len(p.n.active)) || got.Sessions != all || got.Outdated != outdated ||
			got.Accepts != l.accepts || got.MaxSessions != l.config.max {
			p.t.Errorf("%+v; want %+v with %d sessions, %d outdated", got, l, all, outdated)
		}
		for j, pool := range p.pools {
			if n := endedOn(stats, got.Name, pool.Name()); n != l.ended[j] {
				p.t.Errorf("%s: %d sessions have ended on %s, want %d", got.Name, n, pool.Name(), l.ended[j])
			}
		}
		if n := endedOn(stats, got.Name, ""); n != l.refused {
			p.t.Errorf("%s: %d sessions were refused, want %d", got.Name, n, l.refused)
		}
		for j, a := range got.Addresses {
			if a != p.addresses[l.config.bind[j]] {
				p.t.Errorf("%s: address %s, want %s", got.Name, a, p.addresses[l.config.bind[j]])
			}
		}
		if l.version.table != nil && got.Clients.Sessions != *l.version.table {
			p.t.Errorf("%s: %d sessions of clients are counted, want %d", got.Name, got.Clients.Sessions, *l.version.table)
		}
	}
	for _, ls := range p.srv.set.Load().all() {
		if n, _ := ls.sessionCount(); ls.places.taken.Load() != int64(n) {
			p.t.Errorf("%s: %d places are taken, want %d", ls.name, ls.places.taken.Load(), n)
		}
	}
	if n := p.srv.places.taken.Load(); n != int64(len(p.n.open)) {
		p.t.Errorf("%d places are taken, want %d", n, len(p.n.open))
	}
	p.compareBackends()
	if p.t.(*testing.T).Failed() {
		p.t.FailNow()
	}
}

func endedOn(stats Stats, listener, pool string) (n uint64) {
	for _, e := range stats.Ended {
		if e.Listener == listener && e.Pool == pool {
			n += e.Count
		}
	}
	return n
}

func (p *worldPlay) compareBackends() {
	for i, of := range p.pools {
		want := 0
		for _, s := range p.n.open {
			if s.pool == i {
				want++
			}
		}
		if n := of.Backends()[0].Stats().Active; n != want {
			p.t.Errorf("pool %s: %d sessions, want %d", of.Name(), n, want)
		}
	}
}
