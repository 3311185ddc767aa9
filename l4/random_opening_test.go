package l4

import (
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"sluice/l4/route"
	"sluice/l4/tlshello/hellotest"
	"sluice/pool"
)

// What clients and servers may say before a session relays, whole and in parts, in
// turn or out of it.
var (
	clientWords = [][]byte{
		gssRequest, sslRequest, startup, hellotest.InRecords(hellotest.Valid),
		hellotest.InRecords(hellotest.Valid)[:60], hellotest.InRecords(hellotest.Valid)[60:],
		cancelRequest(cancelKey(1, 4)), []byte("nothing that anybody knows"), packet(version30, []byte("user\x00bob\x00\x00")),
	}
	serverWords = [][]byte{
		[]byte("N"), []byte("S"), fatal("57P03"), loginAnswer(cancelKey(1, 4)), []byte("\x16\x03\x03 an answer"),
	}
)

// Whatever clients, servers, health checks and the clock do in whatever order, no
// session is lost sight of: it holds one slot for one connection, has a timer for its
// deadline, and ends. TestHandoverOpenings is the same with more.
func TestRandomOpenings(t *testing.T) {
	for seed := range uint64(600) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			newOpeningPlay(t, rand.New(rand.NewPCG(seed, 7))).run()
		})
	}
}

func (p *openingPlay) run() {
	for range 60 {
		p.act()
		if p.moves > 0 && p.rnd.IntN(p.moves) == 0 {
			p.note("move")
			p.move(p.rnd)
		}
		for range 1 + p.rnd.IntN(4) {
			p.turn()
		}
		p.takeAll()
		if p.check(); p.t.Failed() {
			p.t.Fatalf("after %v: %s", p.log, p.describe())
		}
	}
	p.end()
}

// An openingPlay is one run: a listener with two pools, and what is connected to it.
type openingPlay struct {
	*rig
	rnd       *rand.Rand
	listeners []net.Listener
	clients   []conn
	servers   []conn
	pools     []*pool.Pool
	header    bool // clients begin with one
	moves     int  // one act in so many is that all goes to another server, or back; 0 = none is
	log       []string
}

func newOpeningPlay(t *testing.T, rnd *rand.Rand) *openingPlay {
	p := &openingPlay{rnd: rnd}
	maxConns, queueMax := rnd.IntN(3), rnd.IntN(3)
	others := p.listen(t)
	seconds := func(n int) time.Duration { return time.Duration(rnd.IntN(2)*n) * time.Second }
	c := rigConfig{
		backends: p.listen(t), maxConns: maxConns, queueMax: queueMax, queueTimeout: 10 * time.Second, retries: rnd.IntN(3),
		connect: 3 * time.Second, peek: 5 * time.Second, fin: 30 * time.Second, dead: [2]time.Duration{seconds(50), seconds(50)},
		send: ProxyVersion(rnd.IntN(3)), protocol: []Protocol{ProtocolPostgres, ProtocolTLS}[rnd.IntN(2)],
	}
	if p.header = rnd.IntN(3) == 0; p.header {
		c.accept = accepting()
	}
	rule, routed, fallback := route.Rule{SNI: []string{"*.example.com"}}, rnd.IntN(3) > 0, rnd.IntN(3) > 0
	if c.protocol == ProtocolPostgres && rnd.IntN(2) == 0 {
		rule = route.Rule{User: []string{"alice"}}
	}
	c.listener = func(l *ListenerConfig) {
		target := l.Target
		target.Pool = newNamedPool(t, "other", 1, maxConns, queueMax, others...)
		p.pools = []*pool.Pool{l.Target.Pool, target.Pool}
		if routed {
			l.Routes = []RoutedTarget{{Rule: rule, Target: target}}
		}
		if routed && !fallback {
			l.Target = Target{}
		}
	}
	p.rig = newRig(t, c)
	return p
}

// listen opens one or two backends, on TCP and Unix sockets, and may add one that is
// not there.
func (p *openingPlay) listen(t *testing.T) (addresses []pool.Address) {
	for range 1 + p.rnd.IntN(2) {
		if p.rnd.IntN(3) == 0 {
			path := filepath.Join(t.TempDir(), "s")
			p.listeners = append(p.listeners, must(net.Listen("unix", path)))
			addresses = append(addresses, pool.Address{Unix: path})
		} else {
			p.listeners = append(p.listeners, listenTCP(t, "127.0.0.1:0"))
			addresses = append(addresses, tcpAddress(p.listeners[len(p.listeners)-1].Addr()))
		}
	}
	if p.rnd.IntN(4) == 0 {
		addresses = append(addresses, pool.Address{Unix: filepath.Join(t.TempDir(), "none")})
	}
	return addresses
}

// act lets somebody do something.
func (p *openingPlay) act() {
	switch p.rnd.IntN(12) {
	case 0, 1:
		if len(p.clients) == 3 {
			return
		}
		p.note("dial")
		c := p.dial()
		p.clients = append(p.clients, c)
		if p.header {
			trySend(c, []byte(lineTCP4))
		}
		p.say("client", c, clientWords)
	case 2, 3, 4:
		p.say("client", p.one(p.clients), clientWords)
	case 5, 6, 7:
		p.say("server", p.one(p.servers[max(0, len(p.servers)-2):]), serverWords)
	case 8:
		p.hangUp("client", &p.clients)
	case 9:
		p.hangUp("server", &p.servers)
	case 10:
		pool := p.pools[p.rnd.IntN(2)]
		b := pool.Backends()[p.rnd.IntN(len(pool.Backends()))]
		up := p.rnd.IntN(2) == 0
		p.note(b.Name(), " up ", up)
		if b.SetUp(up); !up {
			p.srv.Redispatch(b)
		}
	case 11:
		d := []time.Duration{time.Second, 4 * time.Second, 20 * time.Second}[p.rnd.IntN(3)]
		p.note("wait ", d)
		p.now += d
	}
}

func (p *openingPlay) note(words ...any) { p.log = append(p.log, fmt.Sprint(words...)) }

func (p *openingPlay) one(list []conn) conn {
	if len(list) == 0 {
		return nil
	}
	return list[p.rnd.IntN(len(list))]
}

func (p *openingPlay) say(who string, c conn, words [][]byte) {
	if i := p.rnd.IntN(len(words)); c != nil {
		p.note(who, " says ", i)
		trySend(c, words[i])
	}
}

func (p *openingPlay) hangUp(who string, list *[]conn) {
	c := p.one(*list)
	switch {
	case c == nil:
	case p.rnd.IntN(2) == 0:
		p.note(who, " sends FIN")
		c.CloseWrite()
	default:
		p.note(who, " closes")
		c.Close()
		*list = slices.DeleteFunc(*list, func(other conn) bool { return other == c })
	}
}

// turn steps the loop without waiting for events.
func (p *openingPlay) turn() {
	if err := p.loop.runOnce(0); err != nil {
		p.t.Fatal(err)
	}
	p.stepFormers()
}

// takeAll accepts what has come to the backends.
func (p *openingPlay) takeAll() {
	for _, l := range p.listeners {
		must(l.(syscall.Conn).SyscallConn()).Control(func(fd uintptr) {
			if s := acceptNow(int(fd)); s != nil {
				p.servers = append(p.servers, p.keep(s))
			}
		})
	}
}

// check holds every session to its invariants.
func (p *openingPlay) check() {
	held := make(map[*pool.Backend]int)
	p.loop.sessions.each(func(s *session) {
		if (s.backend != nil) != (s.ends[server].fd >= 0) {
			p.t.Errorf("session %d: backend %v, descriptor %d", s.id, s.backend, s.ends[server].fd)
		}
		if s.backend != nil {
			held[s.backend]++
		}
		waitsForKernel := s.state == stateAnswering || s.state == stateConnecting // see answerLate, connectLate
		if p.loop.deadline(s) != 0 && s.timer.at == 0 && !waitsForKernel {
			p.t.Errorf("session %d in state %v has no timer", s.id, s.state)
		}
		for side, end := range s.ends {
			if end.fd >= 0 && end.ready&(writableUnwatched|writable) == writableUnwatched {
				p.t.Errorf("session %d: nobody asks for room on side %d", s.id, side)
			}
		}
	})
	for _, pool := range p.pools {
		granted := pool.Waiting() > 0 || p.messages() > 0 // slots that are on their way
		for _, b := range pool.Backends() {
			if n := b.Stats().Active; n < held[b] || n > held[b] && !granted && !p.waits() {
				p.t.Errorf("%s has %d slots taken, sessions hold %d", b.Name(), n, held[b])
			}
		}
	}
}

// messages is how many the loop has not read; cancel requests are passed on by others.
func (p *openingPlay) messages() int {
	p.loop.inbox.mu.Lock()
	defer p.loop.inbox.mu.Unlock()
	return len(p.loop.inbox.pending)
}

// waits reports whether a session waits: it may have been granted a slot.
func (p *openingPlay) waits() (any bool) {
	p.loop.sessions.each(func(s *session) { any = any || s.state == stateWaiting })
	return any
}

// end closes everything and checks that no session is left.
func (p *openingPlay) end() {
	for _, c := range slices.Concat(p.clients, p.servers) {
		c.Close()
	}
	p.until("all have ended", func() bool {
		p.now += time.Second
		p.servers = nil
		p.takeAll()
		for _, s := range p.servers {
			s.Close()
		}
		return p.loop.load.Load() == 0
	})
	for _, l := range p.listeners {
		l.Close()
	}
}
