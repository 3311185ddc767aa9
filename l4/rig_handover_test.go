package l4

import (
	"encoding/json"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"sluice/pool"
)

// A former is a server that has handed over to the next one of its rig.
type former struct {
	srv  *Server
	loop *loop
	pool *pool.Pool
	gone uint64 // sessions
	came uint64 // that it had been handed over itself
}

// depart begins to hand the rig's sessions over.
func (r *rig) depart() (d *Departure) {
	r.t.Helper()
	r.briskly("depart", func() (err error) {
		d, err = r.srv.Depart()
		return err
	})
	return d
}

// abandon ends a hand-over that has failed.
func (r *rig) abandon(d *Departure) {
	r.t.Helper()
	r.briskly("abandon the hand-over", func() error { d.Abandon(); return nil })
}

// next takes the next batch; nil = there is none.
func (r *rig) next(d *Departure, early bool) (b *Batch) {
	r.t.Helper()
	r.briskly("take a batch out of service", func() (err error) {
		b, err = d.Next(early)
		return err
	})
	return b
}

// giveBack puts a batch back into service.
func (r *rig) giveBack(b *Batch) {
	r.t.Helper()
	r.briskly("return a batch", func() error { b.Return(); return nil })
}

// wire returns what another process gets of a batch: what has become of its records as JSON, and
// descriptors of its own.
func wire(t testing.TB, b *Batch) (records []Record, files []int) {
	t.Helper()
	data, err := json.Marshal(b.Records())
	if err == nil {
		err = json.Unmarshal(data, &records)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range b.Files() {
		files = append(files, dup(t, fd))
	}
	return records, files
}

// dup returns a descriptor of its own of what fd is, as another process gets it.
func dup(t testing.TB, fd int) int {
	t.Helper()
	n, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	return int(n)
}

// inherit lets the next server listen where the present one does.
func (r *rig) inherit() (handed []InheritedSocket) {
	r.setup.bind = nil
	for _, k := range *r.srv.listeners()[0].sockets.Load() {
		fd := dup(r.t, k.fd)
		r.sockets = append(r.sockets, fd)
		handed = append(handed, InheritedSocket{Address: k.bound, FD: fd})
		r.setup.bind = append(r.setup.bind, k.bound)
	}
	return handed
}

// succeed hands every session over to a new server, which is the rig's from then on. Its clock
// has nothing to do with that of the one before. Some batches it drops, and they go on where they
// were before they come again: nobody is to notice.
func (r *rig) succeed(rnd *rand.Rand) {
	r.t.Helper()
	old := former{srv: r.srv, loop: r.loop, pool: r.pool}
	old.came, _ = r.handed()
	d := r.depart()
	next := r.successor(old)
	apart := time.Duration(rnd.IntN(100)-50) * time.Minute
	r.srv.clock = func() time.Duration { return r.now + apart }
	r.loop.now = r.srv.clock()
	r.use(old)
	for _, early := range []bool{true, false} {
		for b := r.next(d, early); b != nil; b = r.next(d, early) {
			old.gone += r.pass(b, next, rnd)
			r.on(next, "expect the rest", func() error { r.expectFrom(old); return nil })
		}
	}
	r.briskly("finish the hand-over", func() error { d.Finish(); return nil })
	r.use(next)
	r.formers = append(r.formers, old)
}

// successor makes the server to which a former one hands over, at which nothing has come yet. It is
// the rig's.
func (r *rig) successor(old former) former {
	r.serve(r.inherit()...)
	r.carryStates(old.srv)
	r.expectFrom(old)
	r.srv.clock = func() time.Duration { return r.now + time.Hour }
	r.loop.now = r.srv.clock()
	return former{srv: r.srv, loop: r.loop, pool: r.pool}
}

// expectFrom tells the rig's server how many slots the sessions that another one has still hold.
func (r *rig) expectFrom(old former) {
	held := make(map[string]int)
	old.loop.sessions.each(func(s *session) {
		if s.backend != nil {
			held[s.backend.Pool().Name()+"/"+s.backend.Name()]++
		}
	})
	for _, t := range r.srv.listeners()[0].rules.Load().targets.all {
		for _, b := range t.config.Pool.All() {
			b.Expect(held[t.config.Pool.Name()+"/"+b.Name()])
		}
	}
}

// use makes another server the rig's.
func (r *rig) use(f former) { r.srv, r.loop, r.pool = f.srv, f.loop, f.pool }

// pass hands one batch over, unless it comes back, and returns how many sessions went.
func (r *rig) pass(b *Batch, next former, rnd *rand.Rand) uint64 {
	r.t.Helper()
	records, files := wire(r.t, b)
	var a *Arrival
	var refused []int
	r.on(next, "adopt a batch", func() (err error) {
		a, refused, err = next.srv.Adopt(records, files)
		return err
	})
	if len(refused) > 0 {
		r.t.Fatalf("sessions %v are refused: %s", refused, r.logs.String())
	}
	if rnd.IntN(8) == 0 {
		r.on(next, "drop a batch", func() error { a.Drop(); return nil })
		r.giveBack(b)
		for range rnd.IntN(4) {
			r.step()
		}
		return 0
	}
	r.briskly("commit a batch", func() error { b.Commit(nil); return nil })
	r.on(next, "let a batch go", func() error { a.Go(); return nil })
	return uint64(len(records))
}

// on lets the loop of another server run while f does.
func (r *rig) on(next former, what string, f func() error) {
	r.t.Helper()
	now := former{srv: r.srv, loop: r.loop, pool: r.pool}
	r.use(next)
	r.briskly(what, f)
	r.use(now)
}

// briskly is while that waits for nothing else, and looks all the time.
func (r *rig) briskly(what string, f func() error) {
	r.t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	for end := time.Now().Add(patient); ; runtime.Gosched() {
		select {
		case err := <-done:
			if err != nil {
				r.t.Fatalf("%s: %v", what, err)
			}
			return
		default:
		}
		if err := r.loop.runOnce(0); err != nil {
			r.t.Fatal(err)
		}
		if time.Now().After(end) {
			r.t.Fatalf("%s: not in %v", what, patient)
		}
	}
}

// carryStates makes the backends up or down as those of another server are.
func (r *rig) carryStates(from *Server) {
	before := from.listeners()[0].rules.Load().targets.all
	for i, t := range r.srv.listeners()[0].rules.Load().targets.all {
		for j, b := range t.config.Pool.Backends() {
			b.SetUp(before[i].config.Pool.Backends()[j].Stats().Up)
		}
	}
}

// handed returns how many sessions the present server was handed over, and hands over itself.
func (r *rig) handed() (came, gone uint64) {
	i := slices.IndexFunc(r.formers, func(f former) bool { return f.srv == r.srv })
	if i >= 0 {
		return r.formers[i].came, r.formers[i].gone
	}
	if len(r.formers) > 0 {
		came = r.formers[len(r.formers)-1].gone
	}
	return came, 0
}

// stepFormers lets those run that still have sessions which cannot be handed over.
func (r *rig) stepFormers() {
	for _, f := range r.formers {
		if f.loop.load.Load() > 0 && f.loop != r.loop {
			if err := f.loop.runOnce(0); err != nil {
				r.t.Fatal(err)
			}
		}
	}
}

// closeFormers closes the servers that have handed over, which hold nothing any more.
func (r *rig) closeFormers() {
	now := former{srv: r.srv, loop: r.loop, pool: r.pool}
	for _, f := range r.formers {
		r.use(f)
		r.loop.sessions.each(func(s *session) { r.loop.end(s, Shutdown, 0) })
		r.srv.running.Wait()
		for _, t := range r.srv.listeners()[0].rules.Load().targets.all {
			for _, b := range t.config.Pool.All() {
				b.Expect(0) // those that have left
			}
		}
		r.expectEmpty()
		if n := r.srv.pipes.Lent(); n != 0 {
			r.t.Errorf("%d pipes are lent by a server that has handed over", n)
		}
		r.srv.Close()
	}
	r.use(now)
	for _, fd := range r.sockets {
		syscall.Close(fd)
	}
}
