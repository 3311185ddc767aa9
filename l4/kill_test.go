package l4

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/l4/pgwire"
	"sluice/l4/tlshello"
	"sluice/l4/tlshello/hellotest"
	"sluice/pool"
)

// kill calls Kill while the loop runs.
func (r *rig) kill(ref SessionRef, want bool) {
	r.t.Helper()
	r.while("Kill", func() error {
		if got := r.srv.Kill(ref); got != want {
			r.t.Errorf("Kill(%+v) = %t, want %t", ref, got, want)
		}
		return nil
	})
}

// An operator may end a session at any time of its life, by the number alone or by what was
// listed. Its client is told where it has been told nothing yet.
func TestKillInEveryState(t *testing.T) {
	hello := hellotest.OfSize(t, 600)
	f := func(state string, config rigConfig, open func(r *rig), told func(r *rig, c conn)) {
		t.Helper()
		t.Run(state, func(t *testing.T) {
			for _, listed := range []bool{false, true} {
				r := newRig(t, config)
				open(r)
				s := r.only()
				if s.State != state {
					t.Fatalf("the session is %s, want %s", s.State, state)
				}
				ref := SessionRef{ID: s.ID}
				if listed {
					ref = s.Ref()
				}
				r.kill(ref, true)
				told(r, r.dialled[0])
				if end := r.expectEnd(Killed); end.ID != s.ID || end.Backend != s.Backend || end.Errno != 0 {
					t.Errorf("ended with %+v, was listed as %+v", end, s)
				}
				r.kill(ref, false)
			}
		})
	}
	isReset := func(r *rig, c conn) { r.expectReset(c, nil) }
	isAlert := func(r *rig, c conn) {
		r.expect(c, tlshello.AlertInternalError.Record())
		r.expectFIN(c)
	}
	isError := func(r *rig, c conn) { r.expectRefusal(c, pgwire.AdminShutdown) }
	silent := []pool.Address{newBacklog(t).address}
	waiting := func(open func(r *rig)) func(r *rig) {
		return func(r *rig) {
			r.pool.Backends()[0].SetUp(false)
			open(r)
			r.expectWaiting(1)
		}
	}
	f("read_header", rigConfig{accept: accepting()}, writeTo([]byte(lineTCP4[:20]), nil), isReset)
	f("read_hello", rigConfig{protocol: ProtocolTLS}, writeTo(hello[:100], nil), isReset)
	f("read_hello", rigConfig{protocol: ProtocolPostgres, peek: time.Minute}, func(r *rig) { r.refusedTLS() }, isReset)
	f("waiting", rigConfig{queueMax: 1}, waiting(func(r *rig) { r.dial() }), isReset)
	f("waiting", rigConfig{queueMax: 1, protocol: ProtocolPostgres}, waiting(writeTo(startup, nil)), isError)
	f("connecting", rigConfig{backends: silent, protocol: ProtocolTLS}, writeTo(hello, nil), isAlert)
	f("connecting", rigConfig{backends: silent, protocol: ProtocolPostgres}, writeTo(startup, nil), isError)
	f("answering", rigConfig{protocol: ProtocolTLS}, writeTo(hello, func(r *rig, _ conn) { r.expect(r.accept(), hello) }), isAlert)
	f("answering", rigConfig{protocol: ProtocolPostgres},
		writeTo(startup, func(r *rig, _ conn) { r.expect(r.accept(), startup) }), isError)
	f("cancelling", rigConfig{protocol: ProtocolPostgres},
		writeTo(cancelRequest(cancelKey(1, 4)), func(r *rig, _ conn) { r.accept() }), isReset)
	f("relaying", rigConfig{}, func(r *rig) { r.pair() }, isReset)
	f("relaying", rigConfig{protocol: ProtocolPostgres}, func(r *rig) { r.login(cancelKey(1, 4)) }, isReset)
}

// Only the session that is meant ends: not the one that has its slot, nor one of another number.
func TestKillOther(t *testing.T) {
	r := newRig(t, rigConfig{})
	first := r.pair()
	gone := r.only()
	reset(first[client])
	r.expectLeft()
	next := r.pair()
	if now := r.only(); now.slot != gone.slot {
		t.Fatalf("slot %d, want %d again", now.slot, gone.slot)
	}
	for _, ref := range []SessionRef{gone.Ref(), {ID: gone.ID}, {}, {ID: 1 << 63}} {
		r.kill(ref, false)
	}
	r.exchange(next[client], next[server], 2)
	r.kill(SessionRef{ID: r.only().ID}, true)
	r.expectEnd(Killed)
}

// What a peer has finished saying is delivered, whoever ends the session.
func TestKillSparesFinished(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		r := newRig(t, rigConfig{fin: 30 * time.Second})
		ends := r.pair()
		data := theStream[:400<<10]
		r.handOver(near, ends, data)
		ends[near].CloseWrite()
		r.until("the FIN is seen", func() bool { return r.newest().finSeen() })
		s := r.only()
		r.kill(s.Ref(), true)
		r.kill(s.Ref(), true) // it is still there
		if got := r.readSlowly(ends, near.other(), len(data), 20*time.Second); !bytes.Equal(got, data) {
			t.Errorf("%s is not what was sent", brief(got))
		}
		r.expectFIN(ends[near.other()])
		if end := r.expectDelivered(); end.Reason != Killed {
			t.Errorf("ended with %v", end.Reason)
		}
	})
}

// Sessions are found on the loop they are on, by whoever is told of them, while they come and
// go; each ends once.
func TestKillConcurrently(t *testing.T) {
	const loops, clients, enough = 3, 6, 20
	backend := newEcho(t)
	defer backend.stop()
	var ended [numReasons]atomic.Int64
	srv := startServer(t, loops, newPool(t, loops, 0, tcpAddress(backend.Addr())), ListenerConfig{},
		func(e End) { ended[e.Reason].Add(1) })
	var all, killers sync.WaitGroup
	var killed, dialled, answered atomic.Int64
	done := make(chan struct{})
	for killer := range 3 {
		killers.Go(func() {
			for !isOver(done)() {
				srv.VisitSessions(context.Background(), func(chunk []SessionStats) error {
					for _, s := range chunk {
						ref := s.Ref()
						if killer == 0 {
							ref = SessionRef{ID: s.ID}
						}
						if s.ID%3 == 0 && srv.Kill(ref) {
							killed.Add(1)
						}
					}
					return nil
				})
			}
		})
	}
	for range clients {
		all.Go(func() {
			for end := time.Now().Add(patient); ended[Killed].Load() < enough && time.Now().Before(end); {
				dialled.Add(1)
				if echoOnce(srv.testAddress(), "127.0.0.1", func() {}) == nil {
					answered.Add(1)
				}
			}
		})
	}
	all.Wait()
	close(done)
	killers.Wait()
	shutDown(t, srv)
	total := int64(0)
	for _, r := range Reasons() {
		total += ended[r].Load()
	}
	// A client that has finished may be found twice: when it is killed, and until it has its answer.
	if n := ended[Killed].Load(); n > killed.Load() || n < enough || total != dialled.Load() || answered.Load() == 0 {
		t.Errorf("%d of %d sessions were killed, %d calls say so; of %d clients %d got their answer",
			n, total, killed.Load(), dialled.Load(), answered.Load())
	}
}
