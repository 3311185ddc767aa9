package l4

import (
	"context"
	"slices"
	"testing"
	"time"

	"sluice/l4/pgwire/pgtest"
	"sluice/pool"
	"sluice/sysutil"
)

// longestIdle calls LongestIdle while the loop runs.
func (r *rig) longestIdle(b *pool.Backend, idle time.Duration, n int) (ids []uint64, refs []SessionRef) {
	r.t.Helper()
	r.while("LongestIdle", func() (err error) {
		refs, err = r.srv.LongestIdle(context.Background(), b, idle, n)
		return err
	})
	for _, ref := range refs {
		ids = append(ids, ref.ID)
	}
	return ids, refs
}

// allTaken waits until no peer owes an acknowledgement.
func (r *rig) allTaken() {
	r.t.Helper()
	r.until("all is acknowledged", func() bool {
		owing := 0
		r.loop.sessions.each(func(s *session) {
			for _, end := range s.ends {
				if n, _ := sysutil.Owed(int(end.fd)); n != 0 {
					owing++
				}
			}
		})
		return owing == 0
	})
}

// endIdle calls EndIdle while the loop runs.
func (r *rig) endIdle(ref SessionRef, b *pool.Backend, want bool) {
	r.t.Helper()
	r.while("EndIdle", func() error {
		if got := r.srv.EndIdle(ref, b, time.Minute); got != want {
			r.t.Errorf("EndIdle(%+v) = %t, want %t", ref, got, want)
		}
		return nil
	})
}

// Those that have been idle for longest come first, of the backend that is asked for and of no other, and
// one that has become busy meanwhile is not ended.
func TestLongestIdle(t *testing.T) {
	listeners, addresses := listenMany(t, 2)
	r := newRig(t, rigConfig{backends: addresses})
	b := r.pool.Backends()
	var all [][2]conn
	pair := func(i int) {
		c := r.dial()
		all = append(all, [2]conn{client: c, server: r.acceptFrom(listeners[i])})
		r.until("it relays", func() bool { return r.newest().state == stateRelaying })
		r.now += time.Second
	}
	for range 5 {
		pair(0)
	}
	b[0].SetUp(false)
	pair(1)
	b[0].SetUp(true)
	r.exchange(all[1][client], all[1][server], 1)
	r.allTaken()
	r.now += time.Minute
	r.exchange(all[2][server], all[2][client], 1)
	r.allTaken()
	f := func(i, n int, idle time.Duration, want ...uint64) {
		t.Helper()
		if got, _ := r.longestIdle(b[i], idle, n); !slices.Equal(got, want) {
			t.Errorf("backend %d, %d of them, idle for %v: %v, want %v", i, n, idle, got, want)
		}
	}
	f(0, 10, time.Minute, 1, 4, 5, 2)
	f(0, 2, time.Minute, 1, 4)
	f(0, 10, time.Minute+time.Second+time.Second/2, 1, 4, 5)
	f(0, 10, time.Hour)
	f(1, 10, time.Minute, 6)

	_, refs := r.longestIdle(b[0], time.Minute, 10)
	r.exchange(all[0][client], all[0][server], 1)
	r.endIdle(refs[0], b[0], false)
	r.endIdle(refs[1], b[1], false)
	r.endIdle(refs[1], b[0], true)
	r.expectFIN(all[3][client])
	r.expectFIN(all[3][server])
	if end := r.expectEnd(Rebalanced); end.ID != refs[1].ID {
		t.Errorf("ended with %+v, want session %d", end, refs[1].ID)
	}
	r.endIdle(refs[1], b[0], false)
}

// A session on which something goes on is not idle, however long nothing has moved.
func TestLongestIdleSparesUnfinished(t *testing.T) {
	f := func(name string, c rigConfig, open func(r *rig)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c)
			open(r)
			s := r.newest()
			r.now += time.Hour
			r.step()
			b := r.pool.Backends()[0]
			if ids, _ := r.longestIdle(b, time.Minute, 10); len(ids) > 0 {
				t.Errorf("%v are idle: %s", ids, r.describe())
			}
			r.endIdle(SessionRef{s.id, s.slot + 1}, b, false)
		})
	}
	bytesTo := func(far side, size int, stall func(r *rig, near side, ends [2]conn, data []byte)) func(r *rig) {
		return func(r *rig) { stall(r, far.other(), r.pair(), theStream[:size]) }
	}
	for _, far := range []side{client, server} {
		f("in the kernel", rigConfig{}, bytesTo(far, 400<<10, (*rig).handOver))
		f("here", rigConfig{}, bytesTo(far, 700<<10, (*rig).leaveUnsent))
		f("finished", rigConfig{}, func(r *rig) {
			ends := r.pair()
			ends[far].CloseWrite()
			r.expectFIN(ends[far.other()])
		})
		f("come, and not read", rigConfig{}, func(r *rig) {
			ends := r.pair()
			r.newest().ends[far].ready &^= readable
			r.loop.poller.IgnoreInput(int(r.newest().ends[far].fd), uint64(r.newest().token(far)))
			ends[far].Write([]byte("x"))
		})
	}
	f("not relaying", rigConfig{backends: backends(t, true)}, func(r *rig) { r.dial(); r.settle() })
	f("cut", rigConfig{fin: 10 * time.Hour}, func(r *rig) { r.pair(); r.newest().cut = Drained })
}

// A session of Postgres is idle when the server has said that it is ready, in no transaction, and its
// client nothing since. That is not known of one that is encrypted, nor where nobody has looked.
func TestLongestIdlePostgres(t *testing.T) {
	row := pgtest.Message('D', []byte("\x00\x01\x00\x00\x00\x01x"))
	done := pgtest.Message('C', []byte("SELECT 1\x00"))
	ready := func(status byte) []byte { return pgtest.Message('Z', []byte{status}) }
	query := pgtest.Message('Q', []byte("select 1\x00"))
	f := func(name string, note, want bool, talk func(r *rig, ends [2]conn)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newPostgresRig(t, rigConfig{listener: func(l *ListenerConfig) { l.Target.NoteReady = note }})
			ends := r.login(cancelKey(1, 4))
			talk(r, ends)
			r.allTaken()
			r.now += time.Hour
			r.step()
			b := r.pool.Backends()[0]
			ids, _ := r.longestIdle(b, time.Minute, 10)
			if got := len(ids) == 1; got != want {
				t.Errorf("idle: %t, want %t", got, want)
			}
		})
	}
	say := func(from side, messages ...[]byte) func(r *rig, ends [2]conn) {
		return func(r *rig, ends [2]conn) {
			if from == server {
				r.write(ends[client], query)
				r.expect(ends[server], query)
			}
			r.write(ends[from], slices.Concat(messages...))
			r.expect(ends[from.other()], slices.Concat(messages...))
		}
	}
	f("logged in", true, true, func(*rig, [2]conn) {})
	f("nobody looks", false, false, func(*rig, [2]conn) {})
	f("a query", true, false, say(client, query))
	f("a part of a query", true, false, say(client, query[:3]))
	f("a result", true, false, say(server, row))
	f("the end of a result", true, true, say(server, row, done, ready('I')))
	f("in a transaction", true, false, say(server, row, done, ready('T')))
	f("in one that has failed", true, false, say(server, ready('E')))
	f("in pieces", true, false, say(server, ready('I')[:4])) // and the rest alone says too little
	f("a notice afterwards", true, false, say(server, ready('I'), pgtest.Message('N', []byte("\x00"))))
	f("ready, and a long result before", true, true, func(r *rig, ends [2]conn) {
		say(server, theStream[:300<<10])(r, ends)
		for range 2 * streakLimit {
			say(server, row, done, ready('I'))(r, ends)
		}
	})
	r := newPostgresRig(t, rigConfig{listener: func(l *ListenerConfig) { l.Target.NoteReady = true }})
	c := r.dial()
	r.write(c, sslRequest)
	s := r.accept()
	r.expect(s, sslRequest)
	r.write(s, []byte("S"))
	r.expect(c, []byte("S"))
	r.expectState(stateRelaying)
	r.allTaken()
	r.now += time.Hour
	r.step()
	if ids, _ := r.longestIdle(r.pool.Backends()[0], time.Minute, 10); len(ids) > 0 {
		t.Errorf("%v are idle, though nobody knows what goes on in TLS", ids)
	}
}
