package l4

import (
	"net"
	"testing"
	"time"

	"sluice/l4/clients"
	"sluice/pool"
)

// Many sessions go from a server of some loops to one of others, in whole batches and rests of them. One client has them
// all, and at each moment it has as many as it had: also while a batch that was given up comes a second time.
func TestManySessionsOfOneClientTravel(t *testing.T) {
	const many, loops = 2*batchMax + 48, 2
	backend := newEcho(t)
	defer backend.stop()
	address := tcpAddress(backend.Addr())
	config := handedListener(newPool(t, loops, 0, address), 0)
	config.PerClient = clients.Limits{Sessions: many + 1}
	first := startServer(t, loops, config.Target.Pool, config, nil)
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for range many {
		open = append(open, dialEcho(t, first))
	}
	next := config
	next.Target.Pool = newPool(t, loops, 0, address)
	d := depart(t, first)
	second := succeed(t, d, Config{Listeners: []ListenerConfig{next}})
	sizes, whole := 0, 0
	expect := func(when string) {
		t.Helper()
		if n := second.Stats().Listeners[0].Clients.Sessions; n != many {
			t.Fatalf("%s: the client has %d sessions, want %d", when, n, many)
		}
	}
	for dropped := false; ; {
		b := must(d.Next(false))
		if b == nil {
			break
		}
		records, files := wire(t, b)
		a, refused, err := second.Adopt(records, files)
		if err != nil || len(refused) > 0 {
			t.Fatal(refused, err)
		}
		expect("adopted")
		if !dropped {
			dropped = true
			a.Drop()
			b.Return()
			expect("dropped")
			continue
		}
		left := sent(t, d.Remaining())
		b.Commit(nil)
		if err := second.Expect(left); err != nil {
			t.Fatal(err)
		}
		a.Go()
		expect("gone")
		if sizes += len(records); len(records) == batchMax {
			whole++
		}
	}
	if sizes != many || whole == 0 || d.Left() != 0 {
		t.Fatalf("%d sessions have gone, %d batches were whole, %d sessions are left", sizes, whole, d.Left())
	}
	for _, l := range second.loops {
		if l.load.Load() == 0 {
			t.Errorf("loop %d got none", l.index)
		}
	}
	for _, c := range open {
		exchange(t, c, "goes on")
	}
	at := second.Stats().Listeners[0].Addresses[0]
	open = append(open, dialAddress(t, at))
	exchange(t, open[many], "the last one")
	if c, err := net.Dial("tcp", at.TCP.String()); err == nil { // it may be reset before the connect returns
		defer c.Close()
	}
	eventually(t, "one more is refused", func() bool { return endedFor(second, ClientLimit) == 1 })
	for _, c := range open {
		c.Close()
	}
	eventually(t, "the client has none", func() bool { return second.Stats().Listeners[0].Clients.Sessions == 0 })
	handOver(t, d, second)
	shutDown(t, first)
	shutDown(t, second)
	for _, p := range []*pool.Pool{config.Target.Pool, next.Target.Pool} {
		for _, b := range p.All() {
			b.Expect(0)
			if n := b.Active(); n != 0 {
				t.Errorf("%d slots are taken in the end", n)
			}
		}
	}
}

func endedFor(srv *Server, reason Reason) (n uint64) {
	for _, e := range srv.Stats().Ended {
		if e.Reason == reason {
			n += e.Count
		}
	}
	return n
}

// A session for which the next server has no place stays, and travels when it relays: there it goes on under the terms that
// it has, in a listener and a pool that are made for it.
func TestRefusedSessionTravelsWhenItRelays(t *testing.T) {
	r := newPostgresRig(t, rigConfig{idle: 3 * time.Minute})
	c := r.dial()
	r.write(c, startup)
	s := r.accept()
	r.expect(s, startup)
	f := r.freeze(true, false)
	f.follow()
	rename := func(records []Record) []Record {
		for i := range records {
			records[i].Listener, records[i].Pool = "elsewhere", "unknown"
		}
		return records
	}
	adopt := func() (a *Arrival, refused []int) {
		records, files := wire(t, f.batch)
		r.on(f.next, "adopt a batch", func() (err error) {
			a, refused, err = f.next.srv.Adopt(rename(records), files)
			return err
		})
		return a, refused
	}
	if _, refused := adopt(); len(refused) != 1 {
		t.Fatalf("%v are refused, want the one", refused)
	}
	r.briskly("commit what is refused", func() error { f.batch.Commit([]int{0}); return nil })
	if b := r.next(f.d, true); b != nil {
		t.Fatal("it is asked for again")
	}
	r.write(s, loginAnswer(cancelKey(1, 4)))
	r.expect(c, loginAnswer(cancelKey(1, 4)))
	if f.batch = r.next(f.d, false); f.batch == nil {
		t.Fatal("it relays, and does not travel")
	}
	a, refused := adopt()
	if len(refused) > 0 {
		t.Fatalf("it is refused: %s", r.logs.String())
	}
	f.arrival = a
	f.thaw()
	r.exchange(c, s, 3)
	set := r.srv.set.Load()
	if len(set.leaving) != 1 || set.leaving[0].name != "elsewhere" || r.newest().target.config.Pool.Name() != "unknown" {
		t.Errorf("it is in listener %q and pool %q", r.newest().rules.listener.name, r.newest().target.config.Pool.Name())
	}
	r.forgotten, r.formers[0].came = 1, 1 // what its listener has counted goes with that, here and in neither sum
	r.now += 3*time.Minute + 2*tick
	r.expectEnd(IdleTimeout)
	for _, b := range f.next.pool.All() {
		b.Expect(0)
	}
}
