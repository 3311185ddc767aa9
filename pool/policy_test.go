package pool

import (
	"math"
	"strings"
	"testing"
)

func TestRoundRobinIsSmooth(t *testing.T) {
	f := func(want string, ws ...int) {
		t.Helper()
		p := newPool(t, RoundRobin, weights(ws...))
		if got := sequence(p, strings.Count(want, " ")+1); got != want {
			t.Errorf("weights %v: %s, want %s", ws, got, want)
		}
	}
	f("a a b a c a a a a b a c a a", 5, 1, 1) // the sequence nginx documents, twice
	f("a b c a b c", 1, 1, 1)
	f("a b a a b a", 2, 1)
	f("a b a b a b", 3, 3)
	f("a b a c a b a a b a c a b a", 4, 2, 1)
	f("a a a", 9)
}

func TestRoundRobinWithoutOne(t *testing.T) {
	p := newPool(t, RoundRobin, weights(1, 1, 1))
	if got := sequence(p, 4); got != "a b c a" {
		t.Fatalf("got %s", got)
	}
	p.Lookup("b").SetUp(false)
	got := sequence(p, 6)
	if a, c := strings.Count(got, "a"), strings.Count(got, "c"); a+c != 6 || a < 2 || c < 2 { // old credit may give one turn
		t.Errorf("without b got %s, want a and c in turn", got)
	}
}

func TestRoundRobinNewWeightsStartEven(t *testing.T) {
	p := newPool(t, RoundRobin, weights(256, 256, 256))
	sequence(p, 1)
	for _, b := range p.Backends() {
		if err := b.SetWeight(1); err != nil {
			t.Fatal(err)
		}
	}
	if got := sequence(p, 3); got != "a b c" {
		t.Errorf("got %s, want a b c: old credit must not count", got)
	}
}

func TestLeastConnFollowsWeight(t *testing.T) {
	p := newPool(t, LeastConn, weights(4, 2, 1))
	const held = 700
	sequence(p, held)
	for i, want := range []int{400, 200, 100} {
		if got := p.Backends()[i].Stats().Active; got < want-1 || got > want+1 {
			t.Errorf("%s has %d of %d, want %d", p.Backends()[i].Name(), got, held, want)
		}
	}
}

func TestLeastConnPrefersTheEmptier(t *testing.T) {
	p := newPool(t, LeastConn, weights(1, 1, 1))
	sequence(p, 9)
	b := p.Lookup("b")
	for range 3 {
		b.Release()
	}
	if got := sequence(p, 3); got != "b b b" {
		t.Errorf("got %s, want b to catch up", got)
	}
}

func TestLeastConnTiesInTurn(t *testing.T) {
	f := func(want string, ws ...int) {
		t.Helper()
		p := newPool(t, LeastConn, weights(ws...))
		var names []string
		for range strings.Count(want, " ") + 1 {
			b, err := p.Reserve(noClient, nil)
			if err != nil {
				t.Fatal(err)
			}
			b.Release() // the pool is idle at each pick: all tie
			names = append(names, b.Name())
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("weights %v: %s, want %s", ws, got, want)
		}
	}
	f("a b c a b c", 1, 1, 1)
	f("a a b a c a a", 5, 1, 1)
}

func TestRandomOfTwoIsTheEmptier(t *testing.T) {
	p := newPool(t, Random, weights(1, 1))
	for range 100 {
		sequence(p, 2)
		a, b := p.Backends()[0].Stats().Active, p.Backends()[1].Stats().Active
		if a != b {
			t.Fatalf("active %d and %d, want the same: with two backends both are compared", a, b)
		}
	}
}

func TestRandomConverges(t *testing.T) {
	ws := []int{1, 2, 3, 4, 1, 2, 3, 4, 10, 10}
	p := newPool(t, Random, weights(ws...))
	const perWeight = 500
	sequence(p, 40*perWeight)
	for i, w := range ws {
		got, want := p.Backends()[i].Stats().Active, w*perWeight
		// One draw alone would be off by sqrt(500) = 22 or more; two draws stay within a few.
		if math.Abs(float64(got-want)) > 20*float64(w) {
			t.Errorf("weight %d has %d, want about %d", w, got, want)
		}
	}
}

func TestRandomIdleFollowsWeight(t *testing.T) {
	p := newPool(t, Random, weights(3, 1))
	const draws = 20000
	n := 0
	for range draws {
		b, err := p.Reserve(noClient, nil)
		if err != nil {
			t.Fatal(err)
		}
		b.Release()
		if b.Name() == "a" {
			n++
		}
	}
	// Standard deviation is 61; 500 is beyond 8 of them.
	if n < 15000-500 || n > 15000+500 {
		t.Errorf("a was picked %d of %d times, want about 15000", n, draws)
	}
}

func TestRandomSingle(t *testing.T) {
	if got := sequence(newPool(t, Random, weights(5)), 3); got != "a a a" {
		t.Errorf("got %s", got)
	}
}

func TestFirstFillsUp(t *testing.T) {
	bs := weights(1, 1, 1)
	bs[0].MaxConns, bs[1].MaxConns = 2, 1
	p := newPool(t, First, bs)
	if got := sequence(p, 5); got != "a a b c c" {
		t.Errorf("got %s, want a a b c c", got)
	}
	p.Lookup("a").Release()
	if got := sequence(p, 2); got != "a c" {
		t.Errorf("after a session of a ended got %s, want a c", got)
	}
}

// Who has taken over keeps the new sessions when the one before it is back, be it of the other tier, until it fails
// itself; at the start, before anybody has had a session, the order of the configuration holds.
func TestFirstWithoutFailback(t *testing.T) {
	bs := weights(1, 1, 1)
	bs[2].Backup = true
	p, err := New(Config{Name: "test", Balance: First, Backends: bs, NoFailback: true})
	if err != nil {
		t.Fatal(err)
	}
	a, b, c := p.Lookup("a"), p.Lookup("b"), p.Lookup("c")
	f := func(what, want string) {
		t.Helper()
		if got := reserve(p); got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
	}
	a.SetUp(false)
	b.SetUp(false)
	c.SetUp(false)
	b.SetUp(true)
	a.SetUp(true) // checked a moment later
	c.SetUp(true)
	f("at the start", "a")
	a.SetUp(false)
	f("a fails", "b")
	a.SetUp(true)
	f("a is back", "b")
	b.SetEjected(true)
	f("b is ejected", "a")
	b.SetEjected(false)
	a.SetUp(false)
	b.SetAdmin(Drain)
	f("neither", "c")
	a.SetUp(true)
	b.SetAdmin(Ready)
	f("both are back", "c")
	if err := a.SetWeight(3); err != nil { // a new balancer knows it, too
		t.Fatal(err)
	}
	f("after a change of weights", "c")
	c.SetUp(false)
	a.SetUp(false)
	b.SetUp(false)
	f("nobody", ErrNoBackend.Error())
	c.SetUp(true)
	f("the backup is back first", "c")

	f2 := newPool(t, First, weights(1, 1))
	f2.Lookup("a").SetUp(false)
	if got := reserve(f2); got != "b" {
		t.Errorf("a fails: got %s, want b", got)
	}
	f2.Lookup("a").SetUp(true)
	if got := reserve(f2); got != "a" {
		t.Errorf("with failback, a is back: got %s, want a", got)
	}
}

// One that takes over before it has had a session stays as well: others of its kind see the same states, and not the
// same sessions.
func TestFirstWithoutFailbackUnused(t *testing.T) {
	p, err := New(Config{Name: "test", Balance: First, Backends: weights(1, 1), NoFailback: true})
	if err != nil {
		t.Fatal(err)
	}
	p.Lookup("a").SetUp(false)
	p.Lookup("a").SetUp(true)
	if got := reserve(p); got != "b" {
		t.Errorf("got %s, want b", got)
	}
	tried := p.Lookup("b")
	if got := reserve(p, tried); got != "a" {
		t.Errorf("a session that failed on b got %s, want a", got)
	}
	if got := reserve(p); got != "b" {
		t.Errorf("the next one got %s, want b", got)
	}
}

func TestNoFailbackOfOthers(t *testing.T) {
	for policy := range First {
		_, err := New(Config{Name: "test", Balance: policy, Backends: weights(1, 1), NoFailback: true})
		if err == nil || !strings.Contains(err.Error(), "no failback with balance "+policy.String()) {
			t.Errorf("%v: error %v", policy, err)
		}
	}
}
