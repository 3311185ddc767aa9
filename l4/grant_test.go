package l4

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"sluice/pool"
	"sluice/sysutil"
)

// The slot is granted at the very moment the client leaves, the timer fires or the
// server ends: whoever the loop hears first, the slot is neither lost nor doubled, and
// the next in the queue has it.
func TestGrantMeetsEnd(t *testing.T) {
	f := func(name string, after bool, end func(r *rig, c conn), want Reason) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newPostgresRig(t, rigConfig{maxConns: 1, queueMax: 10, queueTimeout: 10 * time.Second})
			taken := must(r.pool.Reserve(source4.Addr(), nil))
			c := r.queueUp()
			next := r.queueUp()
			r.settle()
			// The loop stands still: it will find both in one batch.
			if after {
				end(r, c)
				taken.Release()
			} else {
				taken.Release()
				end(r, c)
			}
			if r.pool.Waiting() != 1 {
				t.Fatal("the slot was not granted")
			}
			r.expectActive(1)
			if got := r.expectEnd(want); got.Received != 0 {
				t.Errorf("ended with %+v", got)
			}
			if !after {
				r.rest(r.accept()) // the connect of the one who left
			}
			r.expectServed(next, r.accept())
			r.expectActive(1)
			r.expectWaiting(0)
			reset(next)
			r.expectEnd(ClientReset)
			r.expectEmpty()
		})
	}
	for _, after := range []bool{false, true} {
		name := fmt.Sprint(", grant comes second: ", after)
		f("FIN"+name, after, func(r *rig, c conn) { c.CloseWrite() }, ClientClosed)
		f("reset"+name, after, func(r *rig, c conn) { reset(c) }, ClientReset)
	}
}

// sessionOf is the session of a client.
func (r *rig) sessionOf(c conn) (found *session) {
	r.loop.sessions.each(func(s *session) {
		if s.client.Port() == uint16(c.LocalAddr().(*net.TCPAddr).Port) {
			found = s
		}
	})
	return found
}

// The timer fires while the grant lies in the inbox: the session has its backend, and
// the message that comes later changes nothing.
func TestGrantMeetsTimer(t *testing.T) {
	f := func(name string, barred bool, late time.Duration) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newPostgresRig(t, rigConfig{maxConns: 1, queueMax: 10, queueTimeout: 10 * time.Second})
			taken := must(r.pool.Reserve(source4.Addr(), nil))
			c, next := r.queueUp(), r.queueUp()
			s := r.sessionOf(c)
			s.opening.barred = barred
			r.loop.rearm(s)
			r.now += late
			r.loop.now = r.now
			taken.Release()
			r.loop.timers.advance(r.now, func(slot int32) {
				if slot == s.slot {
					r.loop.expire(slot)
				}
			})
			if s.state != stateAnswering || s.backend == nil { // on one machine it is connected at once
				t.Fatalf("the session is in state %d with backend %v", s.state, s.backend)
			}
			if s.waited != late {
				t.Errorf("it has waited %v, want %v", s.waited, late)
			}
			r.now -= late // the other one has time
			back := r.accept()
			r.expectServed(c, back)
			r.expectActive(1)
			r.expectWaiting(1)
			reset(c)
			r.expectEnd(ClientReset)
			r.expectServed(next, r.accept())
			r.expectActive(1)
		})
	}
	f("queue timeout", false, 10*time.Second+tick)
	f("turnaround", true, turnaround+tick)
}

// A session is granted a slot, fails, waits again, is granted one again, and then the
// messages of both grants come.
func TestGrantTwice(t *testing.T) {
	r := newPostgresRig(t, rigConfig{queueMax: 10, retries: 5})
	b := r.pool.Backends()[0]
	b.SetUp(false)
	c := r.queueUp()
	s := r.newest()
	var backs []conn
	for range 3 {
		b.SetUp(true)
		r.loop.slotGranted(s.token(client))
		if s.state != stateAnswering {
			t.Fatalf("state %v, want answering", s.state)
		}
		b.SetUp(false)
		r.loop.moveOn(s, BackendDown)
		if s.state != stateWaiting {
			t.Fatalf("state %d, want waiting", s.state)
		}
		s, err := r.backend.Accept()
		if err != nil {
			t.Fatal(err)
		}
		backs = append(backs, r.keep(s))
	}
	if n := len(r.loop.inbox.pending); n != 3 {
		t.Fatalf("%d messages wait, want 3", n)
	}
	b.SetUp(true)
	back := r.accept()
	r.expectServed(c, back)
	r.expectActive(1)
	for _, s := range backs {
		r.expect(s, startup)
		r.expectFIN(s)
	}
	r.expectNobody(r.backend)
	r.leave([2]conn{c, back})
	r.expectEmpty()
}

// The message of a grant comes when its session has ended and another one has the slot
// in the slab.
func TestGrantOfEndedSession(t *testing.T) {
	r := newRig(t, rigConfig{queueMax: 10})
	b := r.pool.Backends()[0]
	b.SetUp(false)
	r.queueUp()
	old := r.newest().token(client)
	b.SetUp(true)
	r.loop.end(r.newest(), Shutdown, 0) // it gives back what it was granted
	r.expectActive(0)
	b.SetUp(false)
	r.queueUp()
	if r.newest().token(client) == old || r.newest().slot != int32(old>>slotShift&slotMask) {
		t.Fatal("the slot was not used again")
	}
	r.settle()
	r.expectState(stateWaiting)
	r.expectWaiting(1)
}

// What a session was granted has to be given back when the connect fails at once, and
// the wait counts once.
func TestGrantThenFailure(t *testing.T) {
	f := func(name string, retries int, address pool.Address, spoil func(*rig) (mend func()), want Reason) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newPostgresRig(t, rigConfig{backends: []pool.Address{address, address}, queueMax: 10, queueTimeout: 6 * time.Second, retries: retries})
			for _, b := range r.pool.Backends() {
				b.SetUp(false)
			}
			c := r.queueUp()
			s := r.newest()
			r.now += 4 * time.Second
			r.loop.now = r.now
			r.pool.Backends()[1].SetUp(true)
			mend := spoil(r)
			r.loop.slotGranted(s.token(client))
			mend()
			waited := 4 * time.Second
			if want == QueueTimeout { // it waits for another chance
				r.expectActive(0, 0)
				r.now, waited = r.now+2*time.Second+tick, 6*time.Second+tick
			}
			end := r.expectEnd(want)
			if end.Waited != waited || end.Backend != "b1" {
				t.Errorf("ended with %+v, want %v of waiting for b1", end, waited)
			}
			r.expectActive(0, 0)
			r.expectRefusal(c, "57P03")
			r.expectEmpty()
		})
	}
	none := func(*rig) func() { return func() {} }
	f("no such socket", 0, pool.Address{Unix: filepath.Join(t.TempDir(), "none")}, none, QueueTimeout)
	f("bad path", 0, pool.Address{Unix: "/" + string(make([]byte, 200))}, none, QueueTimeout)
	f("epoll refuses", 0, refusing(t), func(r *rig) func() {
		good := r.loop.poller
		broken := must(sysutil.NewPoller(1))
		broken.Close()
		r.loop.poller = broken
		return func() { r.loop.poller = good }
	}, ConnectFailed)
}

// Sessions that wait, and such as have been granted a slot and not heard of it, end with
// the server.
func TestQueueAtShutdown(t *testing.T) {
	r := newPostgresRig(t, rigConfig{queueMax: 10})
	b := r.pool.Backends()[0]
	b.SetUp(false)
	r.queueUp()
	c := r.queueUp()
	r.settle()
	b.SetUp(true) // both are granted a slot, and nobody has looked
	r.expectActive(2)
	r.loop.sessions.each(func(s *session) { r.loop.end(s, Shutdown, 0) })
	r.expectActive(0)
	b.SetUp(false)
	r.settle()
	r.expectReset(c, nil)
	r.queueUp()
	r.loop.sessions.each(func(s *session) { r.loop.end(s, Shutdown, 0) })
	r.expectWaiting(0)
	r.settle()
	r.expectEmpty()
}
