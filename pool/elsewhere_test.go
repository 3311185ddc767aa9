package pool

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
)

// Slots that are taken elsewhere count against the limit of every policy as those that are taken here.
func TestElsewhereCounts(t *testing.T) {
	allPolicies(t, func(t *testing.T, policy Policy) {
		p := newPool(t, policy, limited(3, 3))
		a := p.Lookup("a")
		a.Expect(3)
		if got := sequence(p, 3); got != "b b b" {
			t.Errorf("a is full elsewhere: got %s", got)
		}
		if b, err := p.Reserve(netip.Addr{}, nil); b != nil || !errors.Is(err, ErrFull) {
			t.Errorf("both are full: got %v, %v", b, err)
		}
		if s := a.Stats(); s.Active != 3 || a.Active() != 3 {
			t.Errorf("active of a: %d and %d, want 3: they are taken", s.Active, a.Active())
		}
		a.Expect(2)
		if got := reserve(p); got != "a" {
			t.Errorf("one less elsewhere: got %s, want a", got)
		}
	})
}

// Policies that compare loads compare what is taken here and elsewhere.
func TestElsewhereIsLoad(t *testing.T) {
	for _, policy := range []Policy{LeastConn, Random} {
		p := newPool(t, policy, weights(1, 1))
		p.Lookup("a").Expect(10)
		if got := sequence(p, 4); got != "b b b b" {
			t.Errorf("%v: %s, want all to b: a has 10 elsewhere", policy, got)
		}
	}
}

func TestExpectLessGrants(t *testing.T) {
	p := queuePool(t, LeastConn, limited(2))
	a := p.Lookup("a")
	a.Expect(2)
	l := newLine(t, p)
	l.wait("one")
	l.wait("two")
	l.wait("three")
	a.Expect(2)
	l.order("as many as before", "", 3)
	a.Expect(1)
	l.order("one less", "one", 2)
	a.Expect(0)
	l.order("none", "one two", 1)
	if got := a.Active(); got != 2 {
		t.Errorf("%d active, want 2", got)
	}
}

func TestArrive(t *testing.T) {
	p := newPool(t, LeastConn, limited(2))
	a := p.Lookup("a")
	a.Expect(2)
	a.Arrive()
	a.Arrive()
	if got := a.Active(); got != 2 {
		t.Errorf("%d active, want the 2 that were expected", got)
	}
	a.Arrive() // nobody has said so: it is there all the same
	if got := a.Active(); got != 3 {
		t.Errorf("%d active after one that was not expected, want 3", got)
	}
	for range 3 {
		a.Release()
	}
	wantPanic(t, "a fourth release", a.Release)
	if got := a.Active(); got != 0 {
		t.Errorf("%d active at the end", got)
	}
}

// A slot that leaves is taken still, cannot be released here, and comes back when the hand-over has failed.
func TestDepart(t *testing.T) {
	p := queuePool(t, LeastConn, limited(2))
	a := p.Lookup("a")
	take(a)
	take(a)
	l := newLine(t, p)
	l.wait("one")
	l.wait("two")
	a.Depart()
	a.Depart()
	l.order("both have departed", "", 2)
	if got := a.Active(); got != 2 {
		t.Errorf("%d active, want the 2 elsewhere", got)
	}
	wantPanic(t, "release of what has departed", a.Release)
	wantPanic(t, "departure of what has departed", a.Depart)
	a.Arrive() // back
	a.Release()
	l.order("one came back and ended", "one", 1)
	a.Expect(0)
	l.order("the other one has ended there", "one two", 0)
	if n := p.Account().Backends[0].Active; n != 2 {
		t.Errorf("%d slots are taken here, want 2", n)
	}
}

func wantPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if recover() == nil {
			t.Errorf("%s does not panic", what)
		}
	}()
	f()
}

// A removed backend is remembered as long as it has a session here or elsewhere, and with no last one is it forgotten early.
func TestRemovedElsewhere(t *testing.T) {
	p := newPool(t, LeastConn, weights(1, 1))
	b := p.Lookup("b")
	take(b)
	take(b)
	b.Depart()
	replace(t, p, weights(1)...)
	wantAll := func(when, want string) {
		t.Helper()
		if got := names(p.All()); got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	b.Release()
	wantAll("one is left elsewhere", "a b")
	b.Arrive()
	wantAll("it has come back", "a b")
	b.Expect(3)
	b.Release()
	wantAll("three are elsewhere", "a b")
	b.Expect(0)
	wantAll("none", "a")
	b.Arrive()
	wantAll("one comes nevertheless", "a b")
	b.Expect(2)
	b.Expect(0)
	wantAll("it is there still", "a b")
	b.Release()
	wantAll("it has gone", "a")
	b.Expect(1)
	wantAll("another one is expected", "a b")
	b.Expect(0)
	wantAll("and does not come", "a")
}

func TestHarbour(t *testing.T) {
	p := newPool(t, LeastConn, weights(1, 1))
	a, b := p.Lookup("a"), p.Lookup("b")
	of := func(b *Backend) BackendConfig { return BackendConfig{Name: b.Name(), Address: b.Address()} }
	if got := p.Harbour(of(a)); got != a {
		t.Errorf("of one in use: %v", got)
	}
	take(b)
	replace(t, p, weights(1)...)
	if got := p.Harbour(of(b)); got != b {
		t.Errorf("of one that leaves: %v", got)
	}
	c := p.Harbour(BackendConfig{Name: "a", Address: testAddr(7), Weight: 1}) // another server of a's name
	if c == a || c.Usable() || c.Name() != "a" || c.Address() != testAddr(7) || c.Pool() != p {
		t.Errorf("of one that is not known: %+v", c.Stats())
	}
	if p.Harbour(of(c)) != c || names(p.All()) != "a b a" || p.Lookup("a") != a {
		t.Errorf("all: %s", names(p.All()))
	}
	c.Arrive()
	if got := sequence(p, 3); got != "a a a" {
		t.Errorf("sessions went to %s", got)
	}
	c.AddTraffic(0, 1, 2)
	if s := c.Stats(); s.Active != 1 || s.Received != 1 || s.Sent != 2 {
		t.Errorf("stats: %+v", s)
	}
	if change := replace(t, p, BackendConfig{Name: "a", Address: testAddr(7), Weight: 1}); len(change.Added) != 1 || change.Added[0] != c {
		t.Errorf("it was configured again: %+v", change)
	}
	if got := reserve(p); got != "a" || c.Active() != 2 {
		t.Errorf("got %s, %d active", got, c.Active())
	}
}

// One that nobody has come to is not kept for ever, and is there for who comes late.
func TestHarbourForNobody(t *testing.T) {
	p := newPool(t, LeastConn, weights(1))
	c := p.Harbour(BackendConfig{Name: "c", Address: testAddr(7)})
	replace(t, p, weights(1, 1)...)
	if got := names(p.All()); got != "a b" {
		t.Errorf("after an update: %s", got)
	}
	if c.Arrive(); names(p.All()) != "a b c" {
		t.Errorf("after it came: %s", names(p.All()))
	}
	c.Release()
	if got := names(p.All()); got != "a b" {
		t.Errorf("in the end: %s", got)
	}
}

// Those who come back stand at the places that they had, before all who came later.
func TestRejoin(t *testing.T) {
	old := queuePool(t, LeastConn, limited(1))
	take(old.Lookup("a"))
	l := newLine(t, old)
	places := map[string]uint64{}
	for _, name := range []string{"one", "two", "three"} {
		places[name] = l.wait(name).Place()
	}
	if !slices.IsSorted([]uint64{1, places["one"], places["two"], places["three"]}) {
		t.Fatalf("places: %v", places)
	}
	for _, w := range l.waiters {
		if old.Leave(w) != nil {
			t.Fatal("a waiter was granted a slot")
		}
	}

	c := Config{Name: "test", Backends: limited(1), QueueMax: 1}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	account := old.Account()
	p.Assume(account)
	l.p = p
	if new := l.wait("new"); new.Place() <= places["three"] {
		t.Errorf("who is new has place %d, the last of those before has %d", new.Place(), places["three"])
	}
	for _, name := range []string{"three", "one", "two"} {
		p.Rejoin(l.waiters[name], places[name])
		if got := l.waiters[name].Place(); got != places[name] {
			t.Errorf("place of %s: %d, was %d", name, got, places[name])
		}
	}
	l.order("they are full elsewhere", "", 4)
	wantPanic(t, "to rejoin twice", func() { p.Rejoin(l.waiters["one"], 1) })
	a := p.Lookup("a")
	for _, want := range []string{"one", "one two", "one two three", "one two three new"} {
		if a.Active() == 1 && len(l.granted) == 0 {
			a.Expect(0)
		} else {
			a.Release()
		}
		l.order("one has ended", want, 4-len(l.granted))
	}
}

func TestRejoinWhereThereIsRoom(t *testing.T) {
	p := queuePool(t, LeastConn, limited(1))
	l := newLine(t, p)
	granted := false
	w := &Waiter{Granted: func() { granted = true }}
	p.Rejoin(w, 7)
	if !granted || p.Collect(w) != p.Lookup("a") || p.Waiting() != 0 {
		t.Errorf("granted %v, %d wait", granted, p.Waiting())
	}
	if w := l.wait("later"); w.Place() != 8 {
		t.Errorf("place of who came later: %d, want 8", w.Place())
	}
	barred := &Waiter{Tried: []*Backend{p.Lookup("a")}, Granted: func() { t.Error("granted to who has failed there") }}
	p.Lookup("a").SetMaxConns(2) // "later" has it
	p.Lookup("a").SetMaxConns(5)
	p.Rejoin(barred, 1)
	if p.Waiting() != 1 {
		t.Errorf("%d wait, want who was barred", p.Waiting())
	}
}
