package l4

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

// agedRig is a rig whose pool bounds the age of its sessions.
func agedRig(t *testing.T, age MaxAge, c rigConfig) *rig {
	t.Helper()
	c.listener = func(l *ListenerConfig) { l.Target.MaxAge = age }
	return newRig(t, c)
}

// A session ends when it has reached its age, whatever moves on it, and not before.
func TestMaxAge(t *testing.T) {
	r := agedRig(t, MaxAge{Age: time.Hour}, rigConfig{})
	old := r.pair()
	r.now += time.Hour / 2
	r.exchange(old[client], old[server], 1)
	young := r.pair()
	r.now += time.Hour/2 - tick
	r.exchange(old[client], old[server], 1)
	r.now += 2 * tick
	if end := r.expectEnd(OutOfAge); end.Errno != 0 || end.Backend != "b0" || end.Duration < time.Hour {
		t.Errorf("ended with %+v, want b0 after an hour", end)
	}
	r.expectReset(old[client], nil)
	r.expectReset(old[server], nil)
	r.exchange(young[client], young[server], 1)
	r.now += time.Hour / 2
	r.expectEnd(OutOfAge)
}

// How much less each session may last is its own, and evenly spread.
func TestMaxAgeJitter(t *testing.T) {
	bound := MaxAge{Age: time.Hour, Jitter: 0.1}
	const n = 10_000
	var tenths [10]int
	for id := range uint64(n) {
		less := bound.Age - bound.of(3*id+1) // as on the second of three loops
		if less < 0 || less >= bound.Age/10 {
			t.Fatalf("session %d may last %v, want from 54m to 1h", id, bound.of(id))
		}
		tenths[less*100/bound.Age]++
	}
	if least, most := slices.Min(tenths[:]), slices.Max(tenths[:]); least < n/11 || most > n/9 {
		t.Errorf("in each tenth of what they may last less: %v of %d sessions", tenths, n)
	}

	r := agedRig(t, bound, rigConfig{})
	const sessions = 20
	var at []time.Duration
	for range sessions {
		r.pair()
	}
	begin := r.now
	for end := begin + time.Hour + tick; r.now < end; r.now += time.Minute / 4 {
		r.step()
		for ; len(at) < len(r.ended); at = append(at, r.now-begin) {
			if r.expectEnd(OutOfAge); r.now < begin+54*time.Minute {
				t.Errorf("a session has lasted %v, want 54m at least", r.now-begin)
			}
		}
	}
	if slices.Sort(at); len(at) != sessions || at[0] == at[sessions-1] {
		t.Errorf("%d of %d sessions have ended, after %v", len(at), sessions, at)
	}
}

// One that always has more to move than a turn allows reaches its age too.
func TestMaxAgeOfBusySession(t *testing.T) {
	r := agedRig(t, MaxAge{Age: time.Hour}, rigConfig{idle: time.Minute})
	r.pair()
	s := r.newest()
	r.loop.enqueue(s)
	r.now += time.Minute + tick
	r.loop.now = r.now
	r.loop.expire(s.slot)
	if len(r.ended) > 0 {
		t.Fatalf("its turn was not awaited: %+v", r.ended[0])
	}
	r.loop.now += time.Hour
	s.active = r.loop.now
	r.loop.expire(s.slot)
	r.now = r.loop.now
	r.expectEnd(OutOfAge)
}

// Only what relays has an age: who waits is spared, and may last as long afterwards.
func TestMaxAgeLeavesOutTheQueue(t *testing.T) {
	r := agedRig(t, MaxAge{Age: time.Minute}, rigConfig{queueMax: 1})
	b := r.pool.Backends()[0]
	b.SetUp(false)
	c := r.queueUp()
	r.now += time.Hour
	r.settle()
	b.SetUp(true)
	s := r.accept()
	r.now += time.Minute - tick
	r.exchange(c, s, 2)
	r.now += 2 * tick
	r.expectEnd(OutOfAge)
}

// What a peer has finished saying is delivered though the session is out of age.
func TestMaxAgeSparesFinished(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		r := agedRig(t, MaxAge{Age: time.Hour}, rigConfig{fin: 30 * time.Second})
		ends := r.pair()
		r.now += time.Hour - time.Second
		data := theStream[:400<<10]
		r.handOver(near, ends, data)
		ends[near].CloseWrite()
		r.until("the FIN is seen", func() bool { return r.newest().finSeen() })
		r.now += 2 * time.Second
		r.until("it is out of age", func() bool { return r.newest().cut == OutOfAge })
		if got := r.readSlowly(ends, near.other(), len(data), 20*time.Second); !bytes.Equal(got, data) {
			t.Errorf("%s is not what was sent", brief(got))
		}
		r.expectFIN(ends[near.other()])
		if end := r.expectDelivered(); end.Reason != OutOfAge {
			t.Errorf("ended with %v", end.Reason)
		}
	})
}

// With idle_only a session lives on while something moves at least once a second.
func TestMaxAgeIdleOnly(t *testing.T) {
	r := agedRig(t, MaxAge{Age: time.Hour, IdleOnly: true}, rigConfig{})
	ends := r.pair()
	r.now += time.Hour - idleMoment/2
	for i := range 10 {
		r.exchange(ends[i%2], ends[1-i%2], 1)
		r.now += idleMoment - tick
		r.step()
	}
	if len(r.ended) > 0 {
		t.Fatalf("ended with %+v", r.ended[0])
	}
	if end := r.expectDelivered(); end.Reason != OutOfAge || end.Duration < time.Hour+9*(idleMoment-tick) {
		t.Errorf("ended with %+v", end)
	}
}

// Nor does it end while something is on its way, here or in the kernel, however long that
// takes; and it is not looked at all the time.
func TestMaxAgeIdleOnlyWaitsForPeers(t *testing.T) {
	f := func(name string, stall func(r *rig, near side, ends [2]conn, data []byte), size int) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			bothSides(t, func(t *testing.T, near side) {
				r := agedRig(t, MaxAge{Age: time.Hour, IdleOnly: true}, rigConfig{})
				ends := r.pair()
				data := theStream[:size]
				stall(r, near, ends, data)
				for range 5 {
					r.now += time.Hour + tick
					r.settle()
					if at := time.Duration(r.newest().timer.at) * tick; at < r.now+idleMoment/2 {
						t.Errorf("it is looked at again in %v", at-r.now)
					}
				}
				if len(r.ended) > 0 {
					t.Fatalf("ended with %+v", r.ended[0])
				}
				if got := r.readSlowly(ends, near.other(), size, tick); !bytes.Equal(got, data) {
					t.Errorf("%s is not what was sent", brief(got))
				}
				r.until("it ends", func() bool { r.now += idleMoment; return len(r.ended) > 0 })
				r.expectEnd(OutOfAge)
				r.expectReset(ends[near.other()], nil)
			})
		})
	}
	f("in the kernel", (*rig).handOver, 400<<10)
	f("here", func(r *rig, near side, ends [2]conn, data []byte) { r.leaveUnsent(near, ends, data) }, 700<<10)
}

// A process that has stood still passes on what came meanwhile before it judges.
func TestMaxAgeAfterStandstill(t *testing.T) {
	for _, idleOnly := range []bool{false, true} {
		r := agedRig(t, MaxAge{Age: 10 * time.Second, IdleOnly: idleOnly}, rigConfig{})
		r.loop.tolerate = stallTime
		ends := r.pair()
		ends[client].Write([]byte("late"))
		r.now += 10 * time.Hour
		r.until("it is out of age", func() bool { r.now += 100 * time.Millisecond; return len(r.ended) > 0 })
		if end := r.expectEnd(OutOfAge); end.Sent != 4 {
			t.Errorf("ended with %+v, want 4 bytes passed on", end)
		}
		r.expectReset(ends[server], []byte("late"))
	}
}
