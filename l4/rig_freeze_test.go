package l4

import (
	"testing"
)

// A freeze is the sessions of the rig while they are in no loop. They go on where they were, or at the
// next server.
type freeze struct {
	r         *rig
	d         *Departure
	batch     *Batch
	arrival   *Arrival // nil = they come back
	old, next former
	cameFirst uint64 // sessions that the old one was handed over
}

// eachThaw runs a test for sessions that come back and for sessions that go to the next server.
func eachThaw(t *testing.T, f func(t *testing.T, away bool)) {
	t.Run("returned", func(t *testing.T) { f(t, false) })
	t.Run("handed over", func(t *testing.T) { f(t, true) })
}

// freeze takes the sessions that do not relay, or those that do, out of their loop. Away: they are settled
// at the next server, which does nothing with them yet.
func (r *rig) freeze(early, away bool) *freeze {
	r.t.Helper()
	f := &freeze{r: r, old: former{srv: r.srv, loop: r.loop, pool: r.pool}}
	f.cameFirst, _ = r.handed()
	f.d = r.depart()
	if f.batch = r.next(f.d, early); f.batch == nil {
		r.t.Fatalf("nothing travels: %s", r.describe())
	}
	if away {
		f.follow()
		f.arrive()
	}
	return f
}

// follow makes the next server.
func (f *freeze) follow() {
	f.next = f.r.successor(f.old)
	held := make(map[string]int)
	for _, s := range f.batch.sessions {
		if s.backend != nil {
			held[s.backend.Name()]++
		}
	}
	for name, n := range held {
		b := f.next.pool.Lookup(name)
		b.Expect(b.Active() + n)
	}
	f.r.use(f.old)
}

// arrive lets the next server take the batch in.
func (f *freeze) arrive() {
	f.r.t.Helper()
	records, files := wire(f.r.t, f.batch)
	var refused []int
	f.r.on(f.next, "adopt a batch", func() (err error) {
		f.arrival, refused, err = f.next.srv.Adopt(records, files)
		return err
	})
	if len(refused) > 0 {
		f.r.t.Fatalf("%v are refused: %s", refused, f.r.logs.String())
	}
}

// look lets every loop run that could notice something of the sessions.
func (f *freeze) look() {
	f.r.t.Helper()
	f.r.settle()
	if f.arrival != nil {
		f.r.use(f.next)
		f.r.settle()
		f.r.use(f.old)
	}
}

// thaw lets the sessions go on. The rig's server is the one at which they do.
func (f *freeze) thaw() {
	f.r.t.Helper()
	f.look()
	if f.arrival == nil {
		f.r.giveBack(f.batch)
		f.r.abandon(f.d)
		return
	}
	f.old.came, f.old.gone = f.cameFirst, uint64(len(f.batch.sessions))
	f.r.briskly("commit a batch", func() error { f.batch.Commit(nil); return nil })
	f.r.briskly("finish the hand-over", func() error { f.d.Finish(); return nil })
	f.r.use(f.next)
	f.r.briskly("let a batch go", func() error { f.arrival.Go(); return nil })
	f.r.formers = append(f.r.formers, f.old)
}

// down takes a backend down at every server that there is, as a health check does, while the sessions are frozen.
func (f *freeze) down(i int) {
	f.r.t.Helper()
	f.r.down(f.old.pool.Backends()[i])
	f.r.turns(2)
	if f.next.srv != nil {
		f.r.use(f.next)
		f.r.down(f.next.pool.Backends()[i])
		f.r.turns(2)
		f.r.use(f.old)
	}
}
