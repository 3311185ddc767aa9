package pool

import (
	"net/netip"
	"slices"
	"testing"
)

// clients returns n neighbouring IPv4 addresses, as an office behind one router has.
func clients(n int) []netip.Addr {
	cs := make([]netip.Addr, n)
	a := netip.MustParseAddr("10.1.0.0")
	for i := range cs {
		cs[i], a = a, a.Next()
	}
	return cs
}

// placed returns the backend name that each client gets. Nothing is held.
func placed(t *testing.T, p *Pool, cs []netip.Addr) []string {
	t.Helper()
	names := make([]string, len(cs))
	for i, c := range cs {
		b, err := p.Reserve(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		b.Release()
		names[i] = b.Name()
	}
	return names
}

// moved counts the clients of gone that are elsewhere now, and those of others that are.
func moved(before, after []string, gone string) (ofGone, ofOthers int) {
	for i := range before {
		switch {
		case before[i] == after[i]:
		case before[i] == gone:
			ofGone++
		default:
			ofOthers++
		}
	}
	return ofGone, ofOthers
}

func TestSourceHashSticks(t *testing.T) {
	p := newPool(t, SourceHash, weights(ones(7)...))
	cs := clients(1000)
	if !slices.Equal(placed(t, p, cs), placed(t, p, cs)) {
		t.Error("a client changed its backend")
	}
	reordered := weights(ones(7)...)
	slices.Reverse(reordered)
	if !slices.Equal(placed(t, p, cs), placed(t, newPool(t, SourceHash, reordered), cs)) {
		t.Error("the order of the configuration moved clients")
	}
}

func TestSourceHashMappedAddressIsTheSameClient(t *testing.T) {
	p := newPool(t, SourceHash, weights(ones(50)...))
	got := placed(t, p, []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::ffff:192.0.2.1")})
	if got[0] != got[1] {
		t.Errorf("placed on %s as IPv4 and on %s as IPv4-mapped IPv6", got[0], got[1])
	}
}

func TestSourceHashDownMovesOnlyItsOwn(t *testing.T) {
	const backends, n = 10, 20000
	p := newPool(t, SourceHash, weights(ones(backends)...))
	cs := clients(n)
	before := placed(t, p, cs)

	p.Lookup("d").SetUp(false)
	during := placed(t, p, cs)
	ofGone, ofOthers := moved(before, during, "d")
	if ofOthers != 0 {
		t.Errorf("%d clients of backends that stayed moved", ofOthers)
	}
	if ofGone < n/backends*8/10 || ofGone > n/backends*12/10 {
		t.Errorf("%d clients moved, want about %d", ofGone, n/backends)
	}
	heirs := map[string]int{}
	for i := range cs {
		if before[i] == "d" {
			heirs[during[i]]++
		}
	}
	for _, b := range p.Backends() {
		if want := ofGone / (backends - 1); b.Name() != "d" && (heirs[b.Name()] < want/2 || heirs[b.Name()] > want*2) {
			t.Errorf("%s took over %d clients, want about %d", b.Name(), heirs[b.Name()], want)
		}
	}

	p.Lookup("d").SetUp(true)
	if !slices.Equal(placed(t, p, cs), before) {
		t.Error("clients did not all return")
	}
}

func TestSourceHashRemovalMovesFew(t *testing.T) {
	const backends, n = 10, 20000
	all := weights(ones(backends)...)
	cs := clients(n)
	before := placed(t, newPool(t, SourceHash, all), cs)
	after := placed(t, newPool(t, SourceHash, slices.Delete(slices.Clone(all), 3, 4)), cs)
	ofGone, ofOthers := moved(before, after, "d")
	if ofGone < n/backends*8/10 || ofGone > n/backends*12/10 {
		t.Errorf("%d clients of the removed backend, want about %d", ofGone, n/backends)
	}
	if ofOthers > n*3/100 {
		t.Errorf("%d clients of the other backends moved, want at most %d", ofOthers, n*3/100)
	}
}

func TestMaglevTableFollowsWeight(t *testing.T) {
	f := func(ws ...int) {
		t.Helper()
		entries := make([]int, len(ws))
		for _, i := range newPool(t, SourceHash, weights(ws...)).balancer.(*sourceHash).table {
			entries[i]++
		}
		total := 0
		for _, w := range ws {
			total += w
		}
		for i, w := range ws {
			want := float64(maglevSize) * float64(w) / float64(total)
			if d := float64(entries[i]) - want; d < -2 || d > 2 {
				t.Errorf("weights %v: %s has %d entries, want %.0f", ws, backendName(i), entries[i], want)
			}
		}
	}
	f(1)
	f(1, 1)
	f(1, 1, 1)
	f(256, 1)
	f(100, 50, 25, 1)
	f(0, 3, 0, 5)
}

func TestMaglevTableLeavesNobodyOut(t *testing.T) {
	ws := make([]int, 1000)
	for i := range ws {
		ws[i] = MaxWeight
	}
	ws[500] = 1 // its exact share is a quarter of an entry
	p := newPool(t, SourceHash, weights(ws...))
	if !slices.Contains(p.balancer.(*sourceHash).table, 500) {
		t.Error("the lightest backend has no entry")
	}
}

func TestSourceHashFollowsWeight(t *testing.T) {
	p := newPool(t, SourceHash, weights(3, 1))
	cs := clients(20000)
	share := func() float64 {
		n := 0
		for _, name := range placed(t, p, cs) {
			if name == "a" {
				n++
			}
		}
		return float64(n) / float64(len(cs))
	}
	if got := share(); got < 0.73 || got > 0.77 {
		t.Errorf("a has %.3f of the clients, want 0.75", got)
	}
	if err := p.Lookup("a").SetWeight(1); err != nil {
		t.Fatal(err)
	}
	if got := share(); got < 0.48 || got > 0.52 {
		t.Errorf("after a change of weight a has %.3f of the clients, want 0.5", got)
	}
}

func TestSourceHashStandInIsSteady(t *testing.T) {
	p := newPool(t, SourceHash, weights(ones(5)...))
	client := netip.MustParseAddr("192.0.2.99")
	b, err := p.Reserve(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SetMaxConns(1); err != nil {
		t.Fatal(err)
	}
	full := placed(t, p, []netip.Addr{client, client})
	if full[0] == b.Name() || full[0] != full[1] {
		t.Errorf("%s is full, clients went to %v", b.Name(), full)
	}
	b.Release()
	if got := placed(t, p, []netip.Addr{client}); got[0] != b.Name() {
		t.Errorf("%s has room again, but the client went to %s", b.Name(), got[0])
	}
}

// One usable backend in a thousand is seldom found by drawing again; it must be found all the same.
func TestSourceHashFindsTheLastOne(t *testing.T) {
	p := newPool(t, SourceHash, weights(ones(1000)...))
	for _, b := range p.Backends() {
		b.SetUp(position(b) == 777)
	}
	for _, name := range placed(t, p, clients(200)) {
		if name != backendName(777) {
			t.Fatalf("picked %s", name)
		}
	}
}

func TestSourceHashBackupTier(t *testing.T) {
	bs := weights(ones(6)...)
	for i := range 3 {
		bs[i].Backup = true
	}
	p := newPool(t, SourceHash, bs)
	for i := 3; i < 6; i++ {
		p.Backends()[i].SetUp(false)
	}
	seen := map[string]bool{}
	for _, name := range placed(t, p, clients(200)) {
		seen[name] = true
	}
	if len(seen) != 3 || !seen["a"] || !seen["b"] || !seen["c"] {
		t.Errorf("clients went to %v, want all three backups", seen)
	}
}

func BenchmarkMaglevTable(b *testing.B) {
	for _, n := range []int{3, 100, 1000} {
		p, ws := newPool(b, First, weights(ones(n)...)), ones(n)
		b.Run(backendName(n), func(b *testing.B) {
			for b.Loop() {
				maglevTable(maglevClaims(p.Backends(), ws))
			}
		})
	}
}

// Clients without an address, on a Unix socket, are spread by weight: nothing tells them apart.
func TestSourceHashWithoutAddress(t *testing.T) {
	p := newPool(t, SourceHash, weights(1, 1, 2))
	counts := map[string]int{}
	for range 4000 {
		counts[reserve(p)]++
	}
	// The standard deviation of 1000 is 27.
	if a, b, c := counts["a"], counts["b"], counts["c"]; min(a, b) < 850 || max(a, b) > 1150 || c < 1800 || c > 2200 {
		t.Errorf("%v, want 1000, 1000 and 2000", counts)
	}
	p.Lookup("c").SetUp(false)
	if got := reserve(p); got == "c" {
		t.Error("c is down, and was picked")
	}
}
