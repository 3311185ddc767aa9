package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"syscall"
	"time"
)

// open lets a client connect to a listener. It is served, waits in the queue of a pool, is refused, or waits before the
// listener: no more than one at a time, so that it is certain who comes in next.
func (p *applyPlay) open() {
	names := slices.Sorted(maps.Keys(p.file.listeners))
	l := p.listeners[names[p.random.IntN(len(names))]]
	if p.backlog != nil && (!l.hasPlace() || p.listenerAt(p.backlog) == l) {
		return
	}
	client := fmt.Sprintf("127.0.2.%d", 1+p.random.IntN(3))
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}, Timeout: patience}
	conn, err := dialer.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", l.rules.port))
	if err != nil && !errors.Is(err, syscall.ECONNRESET) { // who is refused may be so before the connect is over
		p.failf("listener %s: %v", l.name, err)
	}
	s := &modelSession{port: l.rules.port, conn: conn, client: client}
	if err == nil {
		s.lines = bufio.NewReader(conn)
	}
	p.sessions = append(p.sessions, s)
	if l.hasPlace() {
		p.admit(l, s)
	} else {
		p.happened["waited before the listener"]++
		p.backlog = s
	}
}

func (l *modelListener) hasPlace() bool { return l.rules.max == 0 || len(l.open) < l.rules.max }

// admitBacklog lets in who waits before a listener, if there is a place by now.
func (p *applyPlay) admitBacklog() {
	if l := p.listenerAt(p.backlog); l != nil && l.hasPlace() {
		s := p.backlog
		p.backlog = nil
		p.happened["let in at a place"]++
		p.admit(l, s)
	}
}

// admit lets a listener accept a session.
func (p *applyPlay) admit(l *modelListener, s *modelSession) {
	l.accepts++
	open := 0
	for _, other := range l.open {
		if other.counted && other.client == s.client {
			open++
		}
	}
	if l.rules.perClient > 0 && open >= l.rules.perClient {
		l.ended[endKey{"", "client_limit"}]++
		p.happened["client_limit"]++
		p.expectEnd(s)
		return
	}
	s.listener, s.counted, s.pool = l, l.rules.perClient > 0, p.pools[l.rules.pool]
	if s.pool == nil {
		s.pool = p.gonePool(l) // of a listener that is gone as well
	}
	l.open = append(l.open, s)
	p.choose(s)
}

// gonePool returns the pool to which a listener led that is gone, as one of its sessions has it: it was full.
func (p *applyPlay) gonePool(l *modelListener) *modelPool {
	for _, s := range l.open {
		if s.pool.name == l.rules.pool {
			return s.pool
		}
	}
	p.failf("the model does not know pool %s any more", l.rules.pool)
	return nil
}

// choose gives a session a backend, or lets it wait, or refuses it.
func (p *applyPlay) choose(s *modelSession) {
	one, able := s.pool, p.able(s.pool)
	switch {
	case slices.ContainsFunc(able, one.hasRoom):
		p.happened["served at once"]++
		p.expectServed(s)
	case one.rules.queue == 0 && len(able) == 0:
		p.expectEnd(s)
		p.over(s, "no_backend")
	case len(one.waiting) >= one.rules.queue:
		p.expectEnd(s)
		p.over(s, "queue_full")
	case s.conn == nil:
		p.failf("a session on pool %s is reset: want it to wait\n%s", one.name, p.describe(true))
	default:
		one.waiting = append(one.waiting, s)
	}
}

// grant serves those who wait in a pool, first come first served, as long as there is room.
func (p *applyPlay) grant(one *modelPool) {
	if p.blurred[one] && len(one.waiting) > 0 {
		return // see check
	}
	for len(one.waiting) > 0 && slices.ContainsFunc(p.able(one), one.hasRoom) {
		p.serveFirst(one)
	}
}

func (p *applyPlay) serveFirst(one *modelPool) {
	first := one.waiting[0]
	one.waiting = slices.Delete(one.waiting, 0, 1)
	p.happened["served after a wait"]++
	p.expectServed(first)
}

// hear returns the next line that a session receives.
func (s *modelSession) hear() (string, error) {
	_ = s.conn.SetReadDeadline(time.Now().Add(patience)) // of this line alone: a session may be open for long
	return s.lines.ReadString('\n')
}

// expectServed waits until a session is served, by a backend that may.
func (p *applyPlay) expectServed(s *modelSession) {
	if s.conn == nil {
		p.failf("a session on pool %s is reset: want it served\n%s", s.pool.name, p.describe(true))
	}
	var server int
	line, err := s.hear()
	if _, scanned := fmt.Sscan(line, &server); err != nil || scanned != nil {
		p.failf("a session on pool %s: %q, %v; want to be served\n%s", s.pool.name, line, err, p.describe(true))
	}
	able := p.able(s.pool)
	if p.blurred[s.pool] {
		able = s.pool.rules.backends
	}
	i := slices.IndexFunc(able, func(b modelBackend) bool { return b.server == server && s.pool.hasRoom(b) })
	if i < 0 {
		p.failf("a session on pool %s got server %d: want one with room of %+v\n%s", s.pool.name, server, able, p.describe(true))
	}
	s.served, s.backend = true, able[i].key()
	slots := s.pool.slots[s.backend]
	slots.active++
	slots.connects++
	slots.received += len(line)
}

// say lets a session say something, and returns what comes back. Both are counted of its backend.
func (p *applyPlay) say(s *modelSession, word string) string {
	slots := s.pool.slots[s.backend]
	_ = s.conn.SetWriteDeadline(time.Now().Add(patience))
	n, err := fmt.Fprintln(s.conn, word)
	if slots.sent += n; err != nil {
		p.failf("a session of pool %s: %v", s.pool.name, err)
	}
	line, err := s.hear()
	if slots.received += len(line); err != nil {
		return err.Error()
	}
	return line
}

// expectEnd waits until sluice hangs up on a session that was never served.
func (p *applyPlay) expectEnd(s *modelSession) {
	if s.conn != nil {
		if line, err := s.hear(); err == nil {
			p.failf("a session is served by server %q: want it refused\n%s", line, p.describe(true))
		}
		_ = s.conn.Close()
	}
	p.sessions = slices.DeleteFunc(p.sessions, func(other *modelSession) bool { return other == s })
}

// endSome ends a session of those that were accepted, in one way or the other.
func (p *applyPlay) endSome() {
	var some []*modelSession
	for _, s := range p.sessions {
		if s != p.backlog {
			some = append(some, s)
		}
	}
	if len(some) == 0 {
		return
	}
	s, reason := some[p.random.IntN(len(some))], "client_closed"
	if s.served && p.random.IntN(2) == 0 {
		reason = "server_closed"
		if said := p.say(s, "bye"); said != io.EOF.Error() {
			p.failf("a server that has hung up says %q", said)
		}
	}
	p.expectGone(s, reason)
}

// expectGone hangs up, and gives others what a session has held.
func (p *applyPlay) expectGone(s *modelSession, reason string) {
	_ = s.conn.Close()
	p.sessions = slices.DeleteFunc(p.sessions, func(other *modelSession) bool { return other == s })
	p.over(s, reason)
	p.grant(s.pool)
	p.admitBacklog()
	if l := s.listener; l.leaving && len(l.open) == 0 {
		delete(p.listeners, l.name)
	}
}

// over takes what a session has held.
func (p *applyPlay) over(s *modelSession, reason string) {
	one, l := s.pool, s.listener
	l.ended[endKey{one.name, reason}]++
	p.happened[reason]++
	if slices.Contains(one.waiting, s) {
		p.happened["gave up waiting"]++
	}
	l.open = slices.DeleteFunc(l.open, func(other *modelSession) bool { return other == s })
	one.waiting = slices.DeleteFunc(one.waiting, func(other *modelSession) bool { return other == s })
	if s.served {
		one.slots[s.backend].active--
		one.keepSlots()
	}
}
