package l4

import (
	"math"
	"testing"
	"time"
)

// A session without traffic ends after the idle timeout, a session with
// traffic, in whatever direction, does not.
func TestIdleTimeout(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		r := newRig(t, rigConfig{idle: time.Minute, fin: time.Second})
		ends := r.pair()
		for range 10 {
			r.now += 50 * time.Second
			r.exchange(ends[near], ends[near.other()], 1)
		}
		r.now += time.Minute - time.Millisecond
		r.settle()
		if len(r.ended) > 0 {
			t.Fatalf("ended early: %+v", r.ended[0])
		}
		r.now += time.Millisecond + tick
		r.expectEnd(IdleTimeout)
		r.expectFIN(ends[client])
		r.expectFIN(ends[server])
	})
}

// A stalled transfer is idle: no byte moves. What is unsent is cut, so both
// peers get a reset.
func TestIdleTimeoutWhileStalled(t *testing.T) {
	r := newRig(t, rigConfig{idle: time.Minute})
	ends := r.pair()
	r.smallBuffers(ends)
	r.fillUp(ends[client])
	r.now += time.Minute + tick
	r.expectEnd(IdleTimeout)
	if _, err := r.rest(ends[server]); err == nil {
		t.Error("the server saw a FIN in the middle of the data, want a reset")
	}
	r.expectReset(ends[client], nil)
}

// After the first FIN it is the fin timeout that counts, from the last byte
// that moved.
func TestFinTimeout(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		r := newRig(t, rigConfig{idle: time.Hour, fin: 30 * time.Second})
		ends := r.pair()
		far := ends[near.other()]
		r.now += 10 * time.Minute
		ends[near].CloseWrite()
		r.expectFIN(far)
		for range 10 {
			r.now += 25 * time.Second
			r.exchange(far, ends[near], 1)
		}
		r.now += 30*time.Second - time.Millisecond
		r.settle()
		if len(r.ended) > 0 {
			t.Fatalf("ended early: %+v", r.ended[0])
		}
		r.now += time.Millisecond + tick
		r.expectEnd(FinTimeout)
		r.expectReset(ends[near], nil) // the answer was cut
	})
}

// A FIN that waits behind bytes that the sink does not take starts the fin
// timeout all the same.
func TestFinTimeoutBehindStalledSink(t *testing.T) {
	r := newRig(t, rigConfig{fin: 30 * time.Second})
	ends := r.pair()
	r.smallBuffers(ends)
	for !r.newest().halves[client].unsent() { // no more than that: the FIN has to get through to the loop
		trySend(ends[client], make([]byte, 4<<10))
		r.settle()
	}
	r.now += time.Minute // the sink has been stalled for longer than the timeout already
	ends[client].CloseWrite()
	r.until("the FIN is seen", func() bool { return r.newest().finSeen() })
	if r.newest().halves[client].done {
		t.Fatal("the FIN is not behind a stalled sink")
	}
	r.now += 29 * time.Second
	r.until("bytes move: the time starts again", func() bool {
		receiveNow(ends[server], make([]byte, 4<<10))
		return r.newest().active == r.now
	})
	r.now += 29 * time.Second
	r.settle()
	if len(r.ended) > 0 {
		t.Fatalf("ended early: %+v", r.ended[0])
	}
	r.now += 30*time.Second + tick
	r.expectEnd(FinTimeout)
}

// Without a fin timeout the idle timeout goes on to count for a half-closed
// session.
func TestIdleTimeoutHalfClosed(t *testing.T) {
	r := newRig(t, rigConfig{idle: time.Minute})
	ends := r.pair()
	ends[client].CloseWrite()
	r.expectFIN(ends[server])
	r.now += time.Minute + tick
	r.expectEnd(IdleTimeout)
}

func TestNoTimeouts(t *testing.T) {
	r := newRig(t, rigConfig{})
	ends := r.pair()
	if wait := r.loop.patience(); wait >= 0 {
		t.Errorf("the loop would wait %v, want for ever", wait)
	}
	r.now += 365 * 24 * time.Hour
	r.exchange(ends[client], ends[server], 1)
	ends[client].CloseWrite()
	r.expectFIN(ends[server])
	r.now += 365 * 24 * time.Hour
	r.exchange(ends[server], ends[client], 1)
}

// The longest duration there is means practically never, not at once.
func TestLongestTimeout(t *testing.T) {
	r := newRig(t, rigConfig{idle: math.MaxInt64, fin: math.MaxInt64, connect: math.MaxInt64})
	ends := r.pair()
	r.now += 365 * 24 * time.Hour
	r.exchange(ends[client], ends[server], 1)
	r.settle()
	if len(r.ended) > 0 {
		t.Fatalf("the session ended: %+v", r.ended[0])
	}
}

// One timer per session is moved lazily: many sessions with traffic cost few
// wake-ups, and each still ends in time.
func TestManyIdleTimeouts(t *testing.T) {
	const sessions = 50
	r := newRig(t, rigConfig{idle: time.Minute})
	var all [][2]conn
	for range sessions {
		all = append(all, r.pair())
		r.now += 100 * time.Millisecond
	}
	started := r.now
	r.exchange(all[0][client], all[0][server], 1) // its deadline is now the last
	for len(r.ended) < sessions {
		wait := r.loop.patience()
		if wait < 0 {
			t.Fatal("sessions are open and the loop would wait for ever")
		}
		r.now += wait
		r.step()
	}
	if last := r.ended[sessions-1]; last.Duration != r.now-(started-sessions*100*time.Millisecond) {
		t.Errorf("the last to end was open for %v, want the first session, with the only message", last.Duration)
	}
	for _, end := range r.ended {
		if end.Reason != IdleTimeout {
			t.Errorf("ended with %v, want idle_timeout", end.Reason)
		}
	}
	if after := r.now - started; after > time.Minute+tick {
		t.Errorf("the last ended after %v, want a minute", after)
	}
}

// A session that ended takes its timer with it: the next one in its place, and
// its neighbours in the wheel, keep their own time.
func TestTimerOfEndedSession(t *testing.T) {
	r := newRig(t, rigConfig{idle: time.Minute})
	var all [][2]conn
	for range 5 {
		all = append(all, r.pair())
	}
	for _, i := range []int{2, 0, 4} {
		reset(all[i][client])
		r.expectEnd(ClientClosed)
	}
	r.now += 30 * time.Second
	r.pair()
	r.pair()
	r.now += 30*time.Second + tick
	r.expectEnd(IdleTimeout)
	r.expectEnd(IdleTimeout)
	r.settle()
	if n := r.loop.load.Load(); n != 2 {
		t.Fatalf("%d sessions are left, want the two of half a minute ago", n)
	}
	r.now += 30 * time.Second
	r.expectEnd(IdleTimeout)
	r.expectEnd(IdleTimeout)
	if wait := r.loop.patience(); wait >= 0 {
		t.Errorf("the loop would wait %v, want for ever", wait)
	}
}
