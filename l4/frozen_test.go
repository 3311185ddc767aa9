package l4

import (
	"bytes"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sluice/pool"
)

// What peers send while their session is in no loop is passed on when it goes on.
func TestDataArrivesWhileFrozen(t *testing.T) {
	eachThaw(t, func(t *testing.T, away bool) {
		bothSides(t, func(t *testing.T, near side) {
			r := newRig(t, rigConfig{})
			ends := r.pair()
			r.exchange(ends[client], ends[server], 3)
			f := r.freeze(false, away)
			data := random(3, 60_000)
			writeAll(ends[near], data)
			f.thaw()
			r.expect(ends[near.other()], data)
			r.exchange(ends[client], ends[server], 3)
			r.exchange(ends[server], ends[client], 3)
		})
	})
}

// A session whose sink is full, and of which no input is heard of, goes on when there is room again.
func TestIgnoredInputTravels(t *testing.T) {
	eachThaw(t, func(t *testing.T, away bool) {
		for _, emptied := range []string{"before", "meanwhile", "after"} {
			bothSides(t, func(t *testing.T, near side) {
				r := newRig(t, rigConfig{})
				ends := r.pair()
				r.smallBuffers(ends)
				r.newest().halves[near].streak = streakLimit
				data := r.fillUp(ends[near])
				if s := r.newest(); s.ends[near].ready&ignored == 0 {
					t.Fatal("the input is not ignored: ", r.describe())
				}
				read := func() { r.expect(ends[near.other()], data) }
				if emptied == "before" { // part of it, and the loop has not seen that
					n, err := receiveNow(ends[near.other()], make([]byte, len(data)))
					if n == 0 || err != nil {
						t.Fatal(n, err)
					}
					data = data[n:]
				}
				f := r.freeze(false, away)
				if emptied == "meanwhile" {
					n, err := receiveNow(ends[near.other()], make([]byte, len(data)))
					if n == 0 || err != nil {
						t.Fatal(n, err)
					}
					data = data[n:]
				}
				f.thaw()
				r.settle()
				read()
				r.exchange(ends[near], ends[near.other()], 3)
				ends[near].CloseWrite()
				r.expectFIN(ends[near.other()])
				r.exchange(ends[near.other()], ends[near], 3)
			})
		}
	})
}

// A FIN behind urgent data does not hide what comes between them, whenever they came.
func TestUrgentDataTravels(t *testing.T) {
	eachThaw(t, func(t *testing.T, away bool) {
		for cut := range 4 { // how many of the steps come before
			bothSides(t, func(t *testing.T, near side) {
				r := newRig(t, rigConfig{})
				ends := r.pair()
				r.settle()
				before, after := random(1, 9_000), random(2, 9_000)
				steps := []func(){
					func() { writeAll(ends[near], before); sendUrgent(t, ends[near]) },
					func() { writeAll(ends[near], after) },
					func() { ends[near].CloseWrite() },
				}
				for _, step := range steps[:cut] {
					step()
				}
				f := r.freeze(false, away)
				for _, step := range steps[cut:] {
					step()
				}
				f.thaw()
				r.expect(ends[near.other()], slices.Concat(before, after))
				r.expectFIN(ends[near.other()])
				r.exchange(ends[near.other()], ends[near], 3)
			})
		}
	})
}

// A session of a client at a Unix socket, to a backend at one, goes on.
func TestUnixSessionTravels(t *testing.T) {
	eachThaw(t, func(t *testing.T, away bool) {
		dir := t.TempDir()
		backend := must(net.Listen("unix", filepath.Join(dir, "b")))
		t.Cleanup(func() { backend.Close() })
		r := newRig(t, rigConfig{
			bind: []pool.Address{{Unix: filepath.Join(dir, "s")}}, backends: []pool.Address{{Unix: filepath.Join(dir, "b")}},
		})
		c := r.dial()
		s := r.acceptFrom(backend)
		r.exchange(c, s, 3)
		f := r.freeze(false, away)
		data := random(9, 50_000)
		writeAll(c, data)
		c.CloseWrite()
		f.thaw()
		r.expect(s, data)
		r.expectFIN(s)
		r.exchange(s, c, 3)
		s.Close()
		r.expectFIN(c)
		r.expectEnd(ClientClosed)
	})
}

// A peer that resets or closes while the session is in no loop is found out when it goes on.
func TestPeerLeavesWhileFrozen(t *testing.T) {
	eachThaw(t, func(t *testing.T, away bool) {
		bothSides(t, func(t *testing.T, near side) {
			reasons := [2][2]Reason{client: {ClientReset, ClientClosed}, server: {ServerReset, ServerClosed}}[near]
			r := newRig(t, rigConfig{})
			ends := r.pair()
			r.exchange(ends[client], ends[server], 1)
			f := r.freeze(false, away)
			reset(ends[near])
			f.thaw()
			r.expectReset(ends[near.other()], nil)
			r.expectEnd(reasons[0])

			r = newRig(t, rigConfig{})
			ends = r.pair()
			r.exchange(ends[client], ends[server], 1)
			f = r.freeze(false, away)
			r.write(ends[near], []byte("the last word"))
			ends[near].Close()
			f.thaw()
			r.expect(ends[near.other()], []byte("the last word"))
			r.expectFIN(ends[near.other()])
			ends[near.other()].Close()
			r.expectEnd(reasons[1])
		})
	})
}

// A deadline that has passed while the session was in no loop is kept when it goes on.
func TestDeadlinePassesWhileFrozen(t *testing.T) {
	f := func(name string, c rigConfig, open func(r *rig) conn, early bool, limit time.Duration, want Reason) {
		t.Run(name, func(t *testing.T) {
			eachThaw(t, func(t *testing.T, away bool) {
				r := newRig(t, c)
				open(r)
				r.settle()
				f := r.freeze(early, away)
				r.now += limit / 2
				f.thaw()
				r.settle()
				if len(r.ended) > 0 {
					t.Fatalf("ended early: %+v", r.ended[0])
				}
				f = r.freeze(early, away)
				r.now += limit / 2
				f.thaw()
				r.now += 2 * tick // the timer's
				r.expectEnd(want)
			})
		})
	}
	relaying := func(r *rig) conn { return r.pair()[client] }
	silent := newBacklog(t).address
	f("idle", rigConfig{idle: time.Minute}, relaying, false, time.Minute, IdleTimeout)
	f("age", rigConfig{listener: func(l *ListenerConfig) { l.Target.MaxAge = MaxAge{Age: time.Minute} }}, relaying, false, time.Minute, OutOfAge)
	f("connect", rigConfig{backends: []pool.Address{silent}, connect: 8 * time.Second}, func(r *rig) conn {
		c := r.dial()
		r.until("it connects", func() bool { return r.newest() != nil && r.newest().state == stateConnecting })
		return c
	}, true, 8*time.Second, ConnectTimeout)
	f("queue", rigConfig{queueMax: 5, queueTimeout: time.Minute}, func(r *rig) conn {
		r.pool.Backends()[0].SetUp(false)
		return r.queueUp()
	}, true, time.Minute, QueueTimeout)
	f("hello", rigConfig{protocol: ProtocolPostgres, peek: 9 * time.Second}, func(r *rig) conn {
		c := r.dial()
		r.until("it is accepted", func() bool { return r.newest() != nil })
		return c
	}, true, 9*time.Second, HelloTimeout)
}

// A slot that comes free while a session that waits is in no loop is given to it when it goes on.
func TestSlotComesFreeWhileFrozen(t *testing.T) {
	eachThaw(t, func(t *testing.T, away bool) {
		r := newRig(t, rigConfig{maxConns: 1, queueMax: 5, queueTimeout: time.Minute})
		first := r.pair()
		c := r.queueUp()
		r.write(c, []byte("waits"))
		f := r.freeze(true, away)
		first[client].Close()
		r.expectFIN(first[server])
		first[server].Close()
		r.expectEnd(ClientClosed)
		if away {
			r.on(f.next, "expect none", func() error { f.next.pool.Backends()[0].Expect(0); return nil })
		}
		f.thaw()
		s := r.accept()
		r.expect(s, []byte("waits"))
		r.exchange(s, c, 3)
	})
}

// A session is granted a slot, and is taken out of its loop before that has heard of it: it connects.
func TestSlotIsGrantedInTheMiddleOfAFreeze(t *testing.T) {
	r := newRig(t, rigConfig{maxConns: 1, queueMax: 5, queueTimeout: time.Minute, backends: []pool.Address{newBacklog(t).address}})
	first := r.dial()
	r.until("it connects", func() bool { return r.newest() != nil && r.newest().state == stateConnecting })
	r.queueUp()
	d := r.depart()
	if err := r.pool.Backends()[0].SetMaxConns(2); err != nil { // the loop stands still
		t.Fatal(err)
	}
	if r.pool.Waiting() != 0 {
		t.Fatal("nobody was granted the slot")
	}
	b := &Batch{d: d, loop: r.loop}
	b.sessions = r.loop.hunt(&hunt{early: true})
	d.batch = b
	for i, f := range b.sessions {
		if f.state != stateConnecting || f.backend == nil || f.waited != 0 && i == 0 {
			t.Errorf("a session travels in state %v", f.state)
		}
	}
	if len(b.sessions) != 2 {
		t.Fatalf("%d sessions travel, want 2", len(b.sessions))
	}
	r.turns(3) // the word of the grant is for nobody now
	r.giveBack(b)
	r.abandon(d)
	r.expectActive(2)
	first.Close()
}

// A session that waits for an obstacle to go away does so at the next server, and tries again there; or is given up
// there before it was to go on, and tries again where it was.
func TestPausedSessionTravels(t *testing.T) {
	eachThaw(t, func(t *testing.T, away bool) {
		full := newFullSocket(t)
		r := newRig(t, rigConfig{backends: []pool.Address{full.address}, connect: 10 * time.Second})
		c := r.dial()
		r.write(c, []byte("patient"))
		r.untilPutOff()
		f := r.freeze(true, away)
		f.look()
		if away {
			r.on(f.next, "drop a batch", func() error { f.arrival.Drop(); return nil })
			f.arrive()
		}
		f.thaw()
		r.expectState(statePaused)
		full.empty()
		r.now += 2 * longestPause
		s := r.acceptFrom(full)
		r.expect(s, []byte("patient"))
		r.exchange(s, c, 3)
		r.expectActive(1)
	})
}

// A backend that dies while a session is in no loop is found out when it goes on.
func TestBackendDiesWhileFrozen(t *testing.T) {
	eachThaw(t, func(t *testing.T, away bool) {
		r := newRig(t, rigConfig{})
		ends := r.pair()
		r.exchange(ends[client], ends[server], 2)
		f := r.freeze(false, away)
		r.backend.Close()
		writeAll(ends[server], []byte("half an answ"))
		reset(ends[server])
		f.thaw()
		data, err := r.rest(ends[client])
		if err == nil || !bytes.HasPrefix([]byte("half an answ"), data) {
			t.Errorf("read %q, %v; want a reset", data, err)
		}
		r.expectEnd(ServerReset)
	})
	eachThaw(t, func(t *testing.T, away bool) { // before it has answered: another one is tried
		listeners, addresses := listenMany(t, 2)
		r := newPostgresRig(t, rigConfig{backends: addresses, retries: 1})
		c := r.dial()
		r.write(c, startup)
		s := r.acceptFrom(listeners[0])
		r.expect(s, startup)
		f := r.freeze(true, away)
		listeners[0].Close()
		reset(s)
		f.thaw()
		s = r.acceptFrom(listeners[1])
		r.expect(s, startup)
		r.write(s, loginAnswer(cancelKey(1, 4)))
		r.expect(c, loginAnswer(cancelKey(1, 4)))
		r.exchange(c, s, 3)
	})
}
