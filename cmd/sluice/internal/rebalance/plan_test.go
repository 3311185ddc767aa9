package rebalance

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"sluice/pool"
)

func usable(name string, weight, active int) pool.BackendStats {
	return pool.BackendStats{Name: name, Usable: true, Weight: weight, Share: 100, Active: active}
}

func TestSurplus(t *testing.T) {
	f := func(name string, skew float64, want Plan, backends ...pool.BackendStats) {
		t.Helper()
		if got := Surplus(backends, skew); !maps.Equal(got, want) {
			t.Errorf("%s: %v are too many, want %v", name, got, want)
		}
	}
	with := func(b pool.BackendStats, change func(*pool.BackendStats)) pool.BackendStats {
		change(&b)
		return b
	}
	none := Plan(nil)
	f("nobody", 0.1, none)
	f("none", 0.1, none, usable("a", 1, 0), usable("b", 1, 0))
	f("one alone", 0.1, none, usable("a", 1, 100))
	f("even", 0.1, none, usable("a", 1, 50), usable("b", 1, 50))
	f("within the skew", 0.1, none, usable("a", 1, 55), usable("b", 1, 45))
	f("beyond the skew", 0.1, Plan{"a": 6}, usable("a", 1, 56), usable("b", 1, 44))
	f("one has come", 0.1, Plan{"a": 10, "b": 10}, usable("a", 1, 30), usable("b", 1, 30), usable("c", 1, 0))
	f("by weight", 0.1, Plan{"b": 20}, usable("a", 3, 40), usable("b", 1, 40))
	f("weight 0 takes none", 0.1, none, usable("a", 1, 100), with(usable("b", 0, 0), func(b *pool.BackendStats) { b.Usable = false }))
	f("slow start", 0, Plan{"a": 9}, usable("a", 1, 99), with(usable("b", 1, 0), func(b *pool.BackendStats) { b.Share = 10 }))
	f("backups wait", 0.1, none, usable("a", 1, 100), with(usable("b", 1, 0), func(b *pool.BackendStats) { b.Backup = true }))
	f("no room", 0.1, none, usable("a", 1, 100), with(usable("b", 1, 10), func(b *pool.BackendStats) { b.MaxConns = 10 }))
	f("little room", 0.1, Plan{"a": 5}, usable("a", 1, 95), with(usable("b", 1, 5), func(b *pool.BackendStats) { b.MaxConns = 10 }))
	f("what is down does not count", 0.1, none, usable("a", 1, 10), usable("b", 1, 10),
		with(usable("c", 1, 90), func(b *pool.BackendStats) { b.Usable = false }))
}

// Whatever the backends: what is closed comes back to others, after which nobody has too many; nobody who takes no
// sessions loses any.
func TestSurplusOfAny(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	plans := 0
	for range 2_000 {
		var all []pool.BackendStats
		for i := range 1 + rnd.IntN(6) {
			b := usable(fmt.Sprint("b", i), 1+rnd.IntN(4), rnd.IntN(200))
			b.Usable, b.Backup = rnd.IntN(5) > 0, rnd.IntN(5) == 0
			if rnd.IntN(4) == 0 {
				b.Share = 1 + rnd.IntN(100)
			}
			if rnd.IntN(4) == 0 {
				b.MaxConns = b.Active + rnd.IntN(50)
			}
			all = append(all, b)
		}
		plan := Surplus(all, 0.1)
		if plan == nil {
			continue
		}
		plans++
		again := apply(t, all, plan)
		if len(inUse(all)) == 1 {
			t.Fatalf("%+v: %v are too many, and there is nobody else", all, plan)
		}
		for _, b := range inUse(again) {
			if left := Surplus(again, 0)[b.Name]; left > 1 { // where room was short, the rest
				if room := roomLeft(again); room > len(all) {
					t.Fatalf("%+v: after %v there are %d too many of %s, and room for %d", all, plan, left, b.Name, room)
				}
			}
		}
	}
	if plans < 200 {
		t.Errorf("only %d plans were made", plans)
	}
}

// apply closes what a plan says, and lets it come back to the backend that is least loaded.
func apply(t *testing.T, all []pool.BackendStats, plan Plan) []pool.BackendStats {
	t.Helper()
	after := append([]pool.BackendStats(nil), all...)
	for i := range after {
		n := plan[after[i].Name]
		if n < 0 || n > after[i].Active || n > 0 && !after[i].Usable {
			t.Fatalf("%+v: %d of %s are to be closed", all, n, after[i].Name)
		}
		after[i].Active -= n
	}
	for range plan.Total() {
		least := -1
		for i, b := range after {
			if !b.Usable || b.MaxConns > 0 && b.Active >= b.MaxConns || b.Backup != inUse(all)[0].Backup {
				continue
			}
			if least < 0 || b.Active*after[least].Weight*after[least].Share < after[least].Active*b.Weight*b.Share {
				least = i
			}
		}
		if least < 0 {
			t.Fatalf("%+v: of %v some have nowhere to go", all, plan)
		}
		if after[least].Active++; plan[after[least].Name] > 0 && after[least].Active > all[least].Active {
			t.Fatalf("%+v: %v come back to %s", all, plan, after[least].Name)
		}
	}
	return after
}

// roomLeft is what backends may take before they have their fair shares.
func roomLeft(all []pool.BackendStats) (n int) {
	total, weights := 0, 0
	for _, b := range inUse(all) {
		total, weights = total+b.Active, weights+b.Weight*b.Share
	}
	for _, b := range inUse(all) {
		n += roomOf(b, total*b.Weight*b.Share/weights)
	}
	return n
}
