package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/overrides"
	"sluice/configs"
	"sluice/pool"
	"sluice/pool/discovery"
)

// TestRandomAnswers plays answers of three sources, errors, reloads, overrides and time, in random order, and holds what the
// pools have against a model that is as simple as can be: backends and their order, weights, tiers, states, who is checked,
// and whom Maglev's tables choose. What has been said already changes nothing.
func TestRandomAnswers(t *testing.T) {
	total := make(map[string]int)
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newFoundPlay(t, seed)
				for p.step = range 150 {
					p.act()
					p.check()
				}
				for what, n := range p.happened {
					total[what] += n
				}
			})
		})
	}
	for _, what := range []string{"vanished", "removed", "came back", "empty", "the same", "override", "reload", "two sources"} {
		if total[what] < 10 {
			t.Errorf("%s: only %d times: the play is too dull", what, total[what])
		}
	}
}

// foundPlay is a world at work, in a bubble of testing/synctest, and what it is to have.
type foundPlay struct {
	*applyRig
	*sources
	random   *rand.Rand
	step     int
	happened map[string]int
	answer   map[string]*modelAnswer // by source
	pools    []*foundPool
}

// modelAnswer is what a source has said.
type modelAnswer struct{ latest, kept []string }

// foundPool is a pool as the model has it.
type foundPool struct {
	name    string
	text    string // of the configuration besides what follows
	keep    bool
	after   time.Duration
	entries []foundEntry // in their order
	static  string
	weight  int // of the template
	members map[string]map[string]foundMember
	tabled  []pool.BackendConfig // whose table was looked at last
	set     map[string]string    // states that are set, by backend or entry; "removed"
}

// foundEntry is a place that a source fills. title is "" for discover.
type foundEntry struct {
	title, source string
	named, off    bool
}

// foundMember is what is known of an address of an entry.
type foundMember struct {
	found string    // as in sources.answers
	since time.Time // it has vanished; zero: it has not
}

func newFoundPlay(t *testing.T, seed uint64) *foundPlay {
	p := &foundPlay{
		sources: new(sources), random: rand.New(rand.NewPCG(seed, 13)), happened: make(map[string]int),
		answer: make(map[string]*modelAnswer), applyRig: &applyRig{T: t, dir: t.TempDir()},
		pools: []*foundPool{
			{
				name: "a", text: `balance: source_hash, check: {type: "off"}`, keep: true, after: 10 * time.Second, static: "10.0.0.1:80",
				entries: []foundEntry{{title: "s0:80", source: "dns s0:80"}, {source: "dns s1:80"}}, weight: 3,
			},
			{
				name: "b", text: `check: {interval: 1h, timeout: 1s}`,
				entries: []foundEntry{{title: "n", source: "dns s1:80", named: true}, {source: "dns s0:80"}, {source: "dns s2:80"}}, weight: 2,
			},
			{
				name: "c", text: `balance: source_hash, check: {type: "off"}`, keep: true, after: time.Minute,
				entries: []foundEntry{{source: "dns s2:80"}, {source: "dns s1:80"}, {source: "dns s0:80"}}, weight: 1,
			},
		},
	}
	for _, of := range p.pools {
		of.members, of.set = make(map[string]map[string]foundMember), make(map[string]string)
	}
	p.write()
	file, err := p.parse()
	if err != nil {
		t.Fatal(err)
	}
	log, out := newLogger(io.Discard, file.Log)
	advice := bindAdvice{source: func(c configs.SourceConfig) discovery.Source { return p.source(c.Key()) }}
	if p.world, err = newWorld(file, log, out, advice); err != nil {
		t.Fatal(err)
	}
	p.read = p.parse
	ctx, cancel := context.WithCancel(context.Background())
	p.startSources(ctx) // and nothing else
	t.Cleanup(func() {
		cancel()
		p.checks.Wait()
		p.release()
		out.close()
	})
	p.settle()
	return p
}

// write makes the text of the configuration.
func (p *foundPlay) write() {
	var b strings.Builder
	b.WriteString("log: {level: error, sessions: \"off\"}\nadmin: {listen: \"\", socket: \"\"}\nlisteners: {l: {bind: \"unix:DIR/l\", pool: a}}\npools:\n")
	for _, of := range p.pools {
		var written, discover []string
		if of.static != "" {
			written = append(written, fmt.Sprintf("%q", of.static))
		}
		for _, e := range of.entries {
			name := strings.TrimPrefix(e.source, "dns ")
			switch {
			case e.off:
			case e.named:
				written = append(written, fmt.Sprintf("{name: %s, address: %q, weight: %d}", e.title, name, of.weight))
			case e.title != "":
				written = append(written, fmt.Sprintf("{address: %q, weight: %d}", name, of.weight))
			default:
				discover = append(discover, fmt.Sprintf("{dns: %q}", name))
			}
		}
		onEmpty := configs.OnEmptyEmpty
		if of.keep {
			onEmpty = configs.OnEmptyKeep
		}
		fmt.Fprintf(&b, "  %s: {%s", of.name, of.text)
		if slices.ContainsFunc(of.entries, func(e foundEntry) bool { return !e.off }) {
			fmt.Fprintf(&b, ", on_empty: %s, remove_after: %v", onEmpty, of.after)
		}
		if len(written) > 0 {
			fmt.Fprintf(&b, ", backends: [%s]", strings.Join(written, ", "))
		}
		if len(discover) > 0 {
			fmt.Fprintf(&b, ", template: {weight: %d}, discover: [%s]", of.weight, strings.Join(discover, ", "))
		}
		b.WriteString("}\n")
	}
	p.text.Store(b.String())
}

// settle lets what was done take effect, and some time pass.
func (p *foundPlay) settle() {
	for wait := true; wait; wait = p.mayBeRemoved() {
		time.Sleep(2 * foundPause) // the fake clock
		synctest.Wait()
	}
	for _, of := range p.pools {
		p.follow(of, time.Now())
	}
}

// mayBeRemoved reports whether nobody can say if a backend is removed by now that has vanished.
func (p *foundPlay) mayBeRemoved() bool {
	for _, of := range p.pools {
		for _, members := range of.members {
			for _, m := range members {
				if late := time.Since(m.since) - of.after; !m.since.IsZero() && late >= 0 && late <= foundSlack+2*foundPause {
					return true
				}
			}
		}
	}
	return false
}

// act does something.
func (p *foundPlay) act() {
	switch n := p.random.IntN(16); {
	case n < 8:
		p.say()
	case n == 8:
		p.source(p.anySource()).say(discovery.Report{Err: errors.New("SERVFAIL")})
	case n == 9:
		p.repeat()
	case n < 12:
		time.Sleep(time.Duration(p.random.IntN(30)) * time.Second)
	case n < 14:
		p.override()
	default:
		p.rewrite()
	}
	for _, of := range p.pools {
		p.follow(of, time.Now())
	}
	p.settle()
}

func (p *foundPlay) anySource() string { return fmt.Sprintf("dns s%d:80", p.random.IntN(3)) }

// say makes a source answer.
func (p *foundPlay) say() {
	key, a := p.anySource(), new(modelAnswer)
	if p.random.IntN(8) > 0 {
		for _, i := range p.random.Perm(6)[:p.random.IntN(6)] {
			text := fmt.Sprintf("10.0.0.%d:80", i+1)
			if p.random.IntN(3) == 0 {
				text += fmt.Sprintf(",w%d", p.random.IntN(4))
			}
			if p.random.IntN(4) == 0 {
				text += ",backup"
			}
			a.latest = append(a.latest, text)
		}
	}
	p.answers(key, a.latest...)
	if slices.Sort(a.latest); len(a.latest) > 0 {
		a.kept = a.latest
	} else if p.happened["empty"]++; p.answer[key] != nil {
		a.kept = p.answer[key].kept
	}
	p.answer[key] = a
}

// repeat makes every source say again what it has said, in another order: nothing changes, not even a table.
func (p *foundPlay) repeat() {
	of := p.now.Load()
	for key, a := range p.answer {
		again := slices.Clone(a.latest)
		p.random.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
		p.answers(key, again...)
	}
	synctest.Wait()
	if p.happened["the same"]++; p.now.Load() != of {
		p.failf("what was said already has changed something")
	}
}

// override sets something, or takes it back.
func (p *foundPlay) override() {
	of := p.pools[p.random.IntN(len(p.pools))]
	names := []string{fmt.Sprintf("10.0.0.%d:80", p.random.IntN(6)+1)}
	for _, e := range of.entries {
		if e.title != "" && !e.off {
			names = append(names, e.title)
		}
	}
	name := names[p.random.IntN(len(names))]
	var err error
	by := admin.By{User: "test"}
	_, there := p.now.Load().backend(of.name, name)
	switch state := []string{"drain", "maint"}[p.random.IntN(2)]; {
	case of.set[name] != "":
		_, err = p.Unset(p.Context(), of.name, name, nil, by)
		delete(of.set, name)
	case there != nil:
		return
	case name == names[0] || p.random.IntN(2) == 0:
		_, err = p.Override(p.Context(), of.name, name, map[string]string{overrides.State: state}, by)
		of.set[name] = state
	default:
		_, err = p.RemoveBackend(p.Context(), of.name, name, by)
		of.set[name] = "removed"
	}
	if p.happened["override"]++; err != nil {
		p.failf("override of %s/%s: %v", of.name, name, err)
	}
}

// rewrite changes the configuration.
func (p *foundPlay) rewrite() {
	of := p.pools[p.random.IntN(len(p.pools))]
	switch e := &of.entries[p.random.IntN(len(of.entries))]; p.random.IntN(3) {
	case 0:
		of.weight = 1 + p.random.IntN(5)
	case 1:
		of.after = time.Duration(p.random.IntN(3)) * 10 * time.Second
	case 2:
		last := of.static == "" && slices.IndexFunc(of.entries, func(o foundEntry) bool { return !o.off && o != *e }) < 0
		e.off = !e.off && !last
	}
	p.write()
	if _, err := p.reload("test"); err != nil {
		p.failf("reload: %v\n%s", err, p.text.Load())
	}
	p.happened["reload"]++
}

func (p *foundPlay) failf(format string, args ...any) {
	p.Helper()
	p.Fatalf("step %d: "+format, append([]any{p.step}, args...)...)
}

// check holds what there is against the model.
func (p *foundPlay) check() {
	checked := make(map[string]int)
	for _, a := range p.monitor.Account() {
		for _, b := range a.Backends {
			if b.Check != nil && !b.Removed {
				checked[a.Pool+"/"+b.Name]++
			}
		}
	}
	for _, of := range p.pools {
		want := of.backends()
		is := p.now.Load().pool(of.name)
		var got []pool.BackendConfig
		for _, b := range is.Backends() {
			s := b.Stats()
			got = append(got, pool.BackendConfig{
				Name: s.Name, Address: s.Address, Weight: s.Weight, MaxConns: s.MaxConns, Backup: s.Backup, State: s.State, Vanished: s.Vanished,
			})
			if n := checked[of.name+"/"+s.Name]; (n > 0) != (of.name == "b") {
				p.failf("%s/%s is checked %d times", of.name, s.Name, n)
			}
			delete(checked, of.name+"/"+s.Name)
		}
		if !slices.Equal(got, want) {
			p.failf("pool %s:\ngot  %v\nwant %v\n%s", of.name, got, want, p.text.Load())
		}
		if of.name != "b" && !slices.Equal(want, of.tabled) {
			p.checkTable(is, want)
			of.tabled = want
		}
	}
	if len(checked) > 0 {
		p.failf("%v is checked and in no pool", checked)
	}
}

// checkTable lets clients choose, here and in a pool that is made of the same backends.
func (p *foundPlay) checkTable(is *pool.Pool, want []pool.BackendConfig) {
	fresh, err := pool.New(pool.Config{Name: is.Name(), Balance: pool.SourceHash, Backends: want})
	if err != nil {
		p.failf("%v", err)
	}
	for i := range 20 {
		client := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		var names [2]string
		for j, of := range []*pool.Pool{is, fresh} {
			if b, err := of.Reserve(client, nil); err == nil {
				names[j] = b.Name()
				b.Release()
			}
		}
		if names[0] != names[1] {
			p.failf("pool %s sends %v to %q, a new one to %q", is.Name(), client, names[0], names[1])
		}
	}
}
