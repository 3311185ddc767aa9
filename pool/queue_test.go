package pool

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// queuePool returns a pool in which ten sessions may wait.
func queuePool(t testing.TB, policy Policy, backends []BackendConfig) *Pool {
	t.Helper()
	p, err := New(Config{Name: "test", Balance: policy, Backends: backends, QueueMax: 10})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// limited returns backends a, b, c ... of weight 1 with these limits.
func limited(limits ...int) []BackendConfig {
	bs := weights(ones(len(limits))...)
	for i, limit := range limits {
		bs[i].MaxConns = limit
	}
	return bs
}

// line is who waits in a pool, by name, and in which order slots were granted.
type line struct {
	t       *testing.T
	p       *Pool
	waiters map[string]*Waiter
	granted []string
}

func newLine(t *testing.T, p *Pool) *line {
	return &line{t: t, p: p, waiters: map[string]*Waiter{}}
}

// wait puts a waiter of that name into the queue.
func (l *line) wait(name string, tried ...*Backend) *Waiter {
	l.t.Helper()
	w := &Waiter{Tried: tried, Granted: func() { l.granted = append(l.granted, name) }}
	l.waiters[name] = w
	if b, waiting, err := l.p.ReserveOrWait(w); b != nil || !waiting || err != nil {
		l.t.Fatalf("ReserveOrWait of %s: %v, %v, %v, want it to wait", name, b, waiting, err)
	}
	return w
}

// order checks who has been granted a slot so far, in which order, and how many wait.
func (l *line) order(what, want string, waiting int) {
	l.t.Helper()
	if got := strings.Join(l.granted, " "); got != want {
		l.t.Errorf("%s: granted to %q, want %q", what, got, want)
	}
	if got := l.p.Waiting(); got != waiting {
		l.t.Errorf("%s: %d wait, want %d", what, got, waiting)
	}
}

// nameOf returns the name of a backend, or "none".
func nameOf(b *Backend) string {
	if b == nil {
		return "none"
	}
	return b.Name()
}

func TestQueueIsFirstComeFirstServed(t *testing.T) {
	allPolicies(t, func(t *testing.T, policy Policy) {
		p := queuePool(t, policy, limited(1, 1))
		sequence(p, 2)
		a, b := p.Backends()[0], p.Backends()[1]
		l := newLine(t, p)
		for _, name := range []string{"1", "2", "3", "4"} {
			l.wait(name)
		}
		l.order("all full", "", 4)
		for i, freed := range []*Backend{b, a, b, b} {
			freed.Release()
			name := string(rune('1' + i))
			l.order("slot freed", "1 2 3 4"[:2*i+1], 3-i)
			if got := reserve(p); got != ErrFull.Error() {
				t.Errorf("a newcomer got %s before it was its turn", got)
			}
			if got := p.Collect(l.waiters[name]); got != freed {
				t.Errorf("%s got %s, want %s, which was freed", name, nameOf(got), freed.Name())
			}
		}
		a.Release()
		if got := reserve(p); got != "a" {
			t.Errorf("nobody waits, but a newcomer got %s", got)
		}
	})
}

func TestReserveOrWaitAtOnce(t *testing.T) {
	p := queuePool(t, First, limited(1, 1))
	w := &Waiter{Granted: func() { t.Error("Granted was called for a slot that was not waited for") }}
	for _, want := range []string{"a", "b"} {
		if b, waiting, err := p.ReserveOrWait(w); nameOf(b) != want || waiting || err != nil {
			t.Errorf("ReserveOrWait: %s, %v, %v, want %s", nameOf(b), waiting, err, want)
		}
		if b := p.Leave(w); b != nil {
			t.Errorf("Leave hands %s out a second time", b.Name())
		}
	}
}

func TestQueueLimit(t *testing.T) {
	f := func(queueMax int, change func(*Pool), want error) {
		t.Helper()
		p, err := New(Config{Name: "test", Backends: limited(1), QueueMax: queueMax})
		if err != nil {
			t.Fatal(err)
		}
		if p.QueueMax() != queueMax {
			t.Errorf("QueueMax() = %d, want %d", p.QueueMax(), queueMax)
		}
		change(p)
		for range queueMax {
			newLine(t, p).wait("one of those before")
		}
		w := &Waiter{Granted: func() {}}
		if b, waiting, err := p.ReserveOrWait(w); b != nil || waiting || !errors.Is(err, want) {
			t.Errorf("ReserveOrWait: %s, %v, %v, want %v", nameOf(b), waiting, err, want)
		}
		if p.Waiting() != queueMax || p.Leave(w) != nil {
			t.Errorf("%d wait, want %d: who was turned away waits", p.Waiting(), queueMax)
		}
	}
	full := func(p *Pool) { reserve(p) }
	down := func(p *Pool) { p.Backends()[0].SetUp(false) }
	f(0, full, ErrFull)
	f(0, down, ErrNoBackend)
	f(1, full, ErrQueueFull)
	f(1, down, ErrQueueFull)
	f(3, full, ErrQueueFull)
}

func TestLeave(t *testing.T) {
	for _, leaver := range []string{"1", "2", "3"} {
		p := queuePool(t, LeastConn, limited(1))
		a := p.Backends()[0]
		reserve(p)
		l := newLine(t, p)
		var stay []string
		for _, name := range []string{"1", "2", "3"} {
			l.wait(name)
			if name != leaver {
				stay = append(stay, name)
			}
		}
		for range 2 {
			if b := p.Leave(l.waiters[leaver]); b != nil {
				t.Errorf("%s left with %s", leaver, b.Name())
			}
			l.order("left", "", 2)
		}
		a.Release()
		p.Leave(l.waiters[stay[0]]).Release()
		l.order("without "+leaver, strings.Join(stay, " "), 0)
		for range 2 {
			want := "a"
			if a.Stats().Active == 0 {
				want = "none"
			}
			got := p.Leave(l.waiters[stay[1]])
			if nameOf(got) != want {
				t.Errorf("left with %s, want %s", nameOf(got), want)
			}
			if got != nil {
				got.Release()
			}
		}
		if n := a.Stats().Active; n != 0 {
			t.Errorf("%d active in the end", n)
		}
	}
	if b := newPool(t, LeastConn, weights(1)).Leave(&Waiter{}); b != nil {
		t.Errorf("a waiter that never waited left with %s", b.Name())
	}
}

// A session that fails on the backend it was granted waits again, at the end of the queue.
func TestWaiterIsUsedAgain(t *testing.T) {
	p := queuePool(t, LeastConn, limited(1, 1))
	a, b := p.Backends()[0], p.Backends()[1]
	sequence(p, 2)
	l := newLine(t, p)
	w := l.wait("1")
	l.wait("2", b)
	a.Release()
	if got := p.Collect(w); got != a {
		t.Fatalf("got %s, want a", nameOf(got))
	}
	w.Tried = append(w.Tried, a) // the connect failed
	if _, waiting, err := p.ReserveOrWait(w); !waiting {
		t.Fatalf("ReserveOrWait again: %v, want it to wait", err)
	}
	a.Release()
	l.order("a freed", "1 2", 1)
	b.Release()
	l.order("b freed", "1 2 1", 0)
	if got := p.Leave(w); got != b {
		t.Errorf("got %s, want b", nameOf(got))
	}
}

func TestReserveOrWaitTwicePanics(t *testing.T) {
	f := func(grant bool) {
		t.Helper()
		p := queuePool(t, LeastConn, limited(1))
		reserve(p)
		w := newLine(t, p).wait("1")
		if grant {
			p.Backends()[0].Release()
		}
		defer func() {
			if r := recover(); r != "pool: reserve or wait in pool test: the waiter has not left" {
				t.Errorf("granted %v: panic %v", grant, r)
			}
			if got := nameOf(p.Leave(w)) != "none"; got != grant {
				t.Errorf("after the panic it left with a slot: %v, want %v", got, grant)
			}
		}()
		p.ReserveOrWait(w)
	}
	f(false)
	f(true)
}

func TestHasOther(t *testing.T) {
	bs := limited(0, 1, 0)
	bs[2].Backup = true
	p := newPool(t, LeastConn, bs)
	a, b, c := p.Backends()[0], p.Backends()[1], p.Backends()[2]
	f := func(what string, except *Backend, want bool, tried ...*Backend) {
		t.Helper()
		if got := p.HasOther(except, tried); got != want {
			t.Errorf("%s: HasOther(%s) = %v, want %v", what, nameOf(except), got, want)
		}
	}
	f("fresh", a, true)
	f("fresh", b, true)
	f("fresh", nil, true)
	f("b tried", a, false, b)
	f("both tried", nil, false, b, a)
	f("both tried", c, false, b, a)
	reserve(p, a)
	f("b full", a, false)
	f("b full", b, true)
	b.Release()
	b.SetUp(false)
	f("b down", a, false)
	a.SetUp(false)
	f("only the backup", a, true)
	f("only the backup", c, false)
	if n := a.Stats().Active + b.Stats().Active + c.Stats().Active; n != 0 {
		t.Errorf("HasOther took %d slots", n)
	}
}

func TestQueueDoesNotAllocate(t *testing.T) {
	allPolicies(t, func(t *testing.T, policy Policy) {
		p := queuePool(t, policy, limited(1, 0))
		a, b := p.Backends()[0], p.Backends()[1]
		tried := []*Backend{b}
		granted := 0
		w := &Waiter{Client: netip.MustParseAddr("192.0.2.7"), Granted: func() { granted++ }}
		quitter := &Waiter{Granted: func() { t.Error("granted to who has left") }}
		n := testing.AllocsPerRun(1000, func() {
			w.Tried, quitter.Tried = tried, tried
			if got, _, _ := p.ReserveOrWait(w); got != a { // at once
				t.Fatal("a was not free")
			}
			p.ReserveOrWait(quitter)
			p.ReserveOrWait(w)
			p.Leave(quitter)
			a.Release()
			if p.Collect(w) != a {
				t.Fatal("a was not granted")
			}
			p.ReserveOrWait(w)
			p.Forgive(w)
			p.Leave(w).Release()
			a.Release()
		})
		if n != 0 {
			t.Errorf("a wait allocates %v times", n)
		}
		if granted != 2*1001 { // AllocsPerRun runs once more, to warm up
			t.Errorf("granted %d times, want %d", granted, 2*1001)
		}
	})
}

// A release beside a long queue that can take nothing must not walk it.
func BenchmarkReleaseWhileBarredWait(b *testing.B) {
	p, err := New(Config{Name: "test", Backends: weights(1, 1), QueueMax: 1000})
	if err != nil {
		b.Fatal(err)
	}
	for range 1000 {
		p.ReserveOrWait(&Waiter{Tried: p.Backends()})
	}
	b.ReportAllocs()
	for b.Loop() {
		backend, _ := p.Reserve(noClient, nil)
		backend.Release()
	}
}

func BenchmarkWait(b *testing.B) {
	p := queuePool(b, LeastConn, limited(1))
	reserve(p)
	w := &Waiter{Granted: func() {}}
	b.ReportAllocs()
	for b.Loop() {
		p.ReserveOrWait(w)
		p.Backends()[0].Release()
		p.Collect(w)
	}
}
