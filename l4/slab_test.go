package l4

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"

	"sluice/l4/pgwire"
	"sluice/sysutil"
)

// What an idle session costs is a figure of the product.
func TestSessionSize(t *testing.T) {
	if size := unsafe.Sizeof(session{}); size > 280 {
		t.Errorf("a session has %d bytes, want at most 280", size)
	}
	const page = 8 << 10 // of Go's heap: a chunk takes whole ones
	if size := (unsafe.Sizeof([chunkSize]session{}) + page - 1) / page * page / chunkSize; size > 290 {
		t.Errorf("a slot has %d bytes of memory, want at most 290", size)
	}
	if size := unsafe.Sizeof(opening{}); size > 384 { // while it opens, waits or is answered
		t.Errorf("an opening has %d bytes, want at most 384", size)
	}
	if size := unsafe.Sizeof(pgwire.KeyScanner{}); size > 64 { // as long as a Postgres session in clear lasts
		t.Errorf("a key scanner has %d bytes, want at most 64", size)
	}
}

func TestTokens(t *testing.T) {
	var b slab
	seen := map[token]bool{tokenInbox: true}
	for range 3 * chunkSize {
		s := b.take()
		s.state = stateRelaying
		for _, side := range []side{client, server} {
			token := s.token(side)
			if seen[token] || token&specialBit != 0 {
				t.Fatalf("token %x of slot %d is not its own", token, s.slot)
			}
			seen[token] = true
			if b.find(token) != s || (token>>63 == 1) != (side == server) {
				t.Fatalf("token %x does not lead back to side %d of slot %d", token, side, s.slot)
			}
		}
	}
}

// No token of the past leads to a session of the present.
func TestStaleTokens(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var b slab
	var open []*session
	var stale []token
	for range 20_000 {
		if len(open) == 0 || rnd.IntN(2) == 0 {
			s := b.take()
			if s.state != stateClosed || s.backend != nil || s.queued || s.timer.at != 0 {
				t.Fatalf("slot %d is not in its initial state: %+v", s.slot, s)
			}
			s.state, s.queued = stateRelaying, true
			open = append(open, s)
			continue
		}
		i := rnd.IntN(len(open))
		stale = append(stale, open[i].token(client), open[i].token(server))
		b.put(open[i])
		open[i] = open[len(open)-1]
		open = open[:len(open)-1]
	}
	for _, token := range stale {
		if s := b.find(token); s != nil {
			t.Fatalf("stale token %x found slot %d", token, s.slot)
		}
	}
	count := 0
	b.each(func(*session) { count++ })
	if count != len(open) {
		t.Errorf("each found %d sessions, want %d", count, len(open))
	}
}

// A session must not move while others come: loops hold pointers to it.
func TestSessionsStay(t *testing.T) {
	var b slab
	first := b.take()
	first.id = 42
	for range 10 * chunkSize {
		b.take()
	}
	if b.at(first.slot) != first || first.id != 42 {
		t.Error("the first session has moved")
	}
}

// each may end sessions, and a later one may take the place of an ended one.
func TestEachWhileEnding(t *testing.T) {
	var b slab
	for range 2 * chunkSize {
		b.take().state = stateRelaying
	}
	count := 0
	b.each(func(s *session) {
		count++
		b.put(s)
	})
	if count != 2*chunkSize {
		t.Errorf("each found %d sessions, want %d", count, 2*chunkSize)
	}
	b.each(func(s *session) { t.Errorf("slot %d is still open", s.slot) })
}

// An event, and a place in the queue, of a session that ended must not reach
// the session that has its slot now.
func TestStaleEventAfterReuse(t *testing.T) {
	r := newRig(t, rigConfig{})
	first := r.pair()
	old := r.newest()
	tokens := []token{old.token(client), old.token(server)}
	r.loop.enqueue(old)
	r.loop.end(old, Shutdown, 0)
	r.expectReset(first[client], nil) // a cut does not look like an end
	r.expectReset(first[server], nil)
	ends := r.pair()
	s := r.newest()
	if s.slot != int32(tokens[0]>>slotShift&slotMask) {
		t.Fatalf("the slot was not used again: %d", s.slot)
	}
	before := s.ends
	for _, token := range tokens {
		r.loop.dispatch(token, sysutil.Readable|sysutil.HungUp|sysutil.Failed|sysutil.PeerClosed)
	}
	if s.ends != before {
		t.Errorf("readiness is %+v, want %+v as before", s.ends, before)
	}
	if n := r.loop.stale.Load(); n != 2 {
		t.Errorf("%d stale events, want 2", n)
	}
	r.exchange(ends[client], ends[server], 3)
}

// A session that is queued is stepped once per batch, not again by its events.
func TestQueuedOnce(t *testing.T) {
	r := newRig(t, rigConfig{})
	ends := r.pair()
	s := r.newest()
	if _, err := ends[client].Write([]byte("waits for its turn")); err != nil {
		t.Fatal(err)
	}
	r.loop.enqueue(s)
	for range 5 {
		r.loop.ready(s, client, sysutil.Readable)
	}
	if n := len(r.loop.queue); n != 1 || r.traffic() != 0 {
		t.Errorf("%d entries in the queue, %d bytes passed on, want 1 and none", n, r.traffic())
	}
	if r.loop.patience() != 0 {
		t.Error("a loop with a queue would wait")
	}
	r.step()
	if s.queued || len(r.loop.queue) != 0 {
		t.Error("the session is still queued after its turn")
	}
	r.expect(ends[server], []byte("waits for its turn"))
	r.exchange(ends[client], ends[server], 3)
}

func TestSessionIDs(t *testing.T) {
	srv := &Server{loops: make([]*loop, 3)}
	seen := map[uint64]bool{}
	for i := range srv.loops {
		l := &loop{server: srv, index: i}
		for range 100 {
			id := l.nextID()
			if seen[id] {
				t.Fatal(fmt.Sprint("number ", id, " was given twice"))
			}
			seen[id] = true
		}
	}
}
