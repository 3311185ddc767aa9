package discovery

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"sluice/pool"
)

// world is what a random test changes step by step.
type world struct {
	*rand.Rand
	sources []string
	answers map[string]Answer
	entries []Feed // that are configured
	static  []pool.BackendConfig
	rules   Rules
	keep    bool
	barred  pool.Address
	named   bool // y says that there is host
	now     time.Time
}

func newWorld(seed uint64) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 0)), sources: []string{"x", "y", "host", "z"}, answers: map[string]Answer{}, now: start}
	w.rules.Barred = func(a pool.Address) error {
		if a == w.barred {
			return fmt.Errorf("%v is barred", a)
		}
		return nil
	}
	w.configure()
	return w
}

// configure is a reload.
func (w *world) configure() {
	w.static = nil
	for i := range w.IntN(3) {
		name := []string{"a", "b", fmt.Sprint("written", i)}[w.IntN(3)]
		if i == 0 || name != w.static[0].Name {
			w.static = append(w.static, pool.BackendConfig{Name: name, Address: w.address(), Weight: 1})
		}
	}
	w.entries = nil
	for i, source := range w.sources {
		if w.IntN(5) == 0 {
			continue
		}
		e := Feed{Source: source, Before: len(w.static), Template: pool.BackendConfig{Weight: 1 + i, Backup: w.IntN(4) == 0}}
		if source == "x" && w.IntN(2) == 0 {
			e.Before, e.Prefix = 0, []string{"", "x/"}[w.IntN(2)]
		}
		if source == "host" {
			if e.Under = "y"; !slices.ContainsFunc(w.entries, func(f Feed) bool { return f.Source == "y" }) {
				continue
			}
		}
		w.entries = append(w.entries, e)
	}
	w.rules.RemoveAfter = time.Duration(w.IntN(4)) * 10 * time.Second
	w.keep = w.IntN(2) == 0
	w.barred = w.address()
}

func (w *world) address() pool.Address {
	return pool.Address{TCP: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(w.IntN(8))}), 80)}
}

// step lets one thing happen.
func (w *world) step() {
	w.now = w.now.Add(time.Duration(w.IntN(8)) * time.Second)
	source := w.sources[w.IntN(len(w.sources))]
	switch w.IntN(12) {
	case 0:
		w.configure()
	case 1: // another process
		for source, a := range w.answers {
			s := &watched{answer: a}
			w.answers[source] = s.saved(source).answer()
		}
	case 2: // an error
	case 5:
		w.named = !w.named
	case 3:
		w.answer(source, nil)
	case 4: // the same, in another order
		again := slices.Clone(w.answers[source].Latest)
		w.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
		w.answer(source, again)
	default:
		w.answer(source, w.found())
	}
}

func (w *world) answer(source string, found []Found) {
	set, _ := tidy(found)
	w.answers[source], _ = w.answers[source].follow(set, w.now)
}

// found returns backends as a source may have them.
func (w *world) found() (all []Found) {
	for range w.IntN(7) {
		f := Found{Address: w.address(), Name: []string{"", "", "", "a", "b", "10.0.0.3:80", "x/10.0.0.3:80", "a/10.0.0.3:80"}[w.IntN(8)]}
		if w.IntN(4) == 0 {
			f.Weight, f.Backup = new(w.IntN(pool.MaxWeight)), new(w.IntN(2) == 0)
		}
		all = append(all, f)
	}
	return all
}

// feeds returns what the entries get.
func (w *world) feeds() (all []Feed) {
	for _, f := range w.entries {
		if f.Under != "" && !w.named {
			continue
		}
		a := w.answers[f.Source]
		f.Found, f.Answered = a.Set(w.keep), a.Answered()
		all = append(all, f)
	}
	return all
}

// TestMembersAgainstModel: whatever sources say, in whatever order, there is what the model has; a pool takes it, and goes
// on as one that has begun with it; and what has vanished aside it is what it were without a past.
func TestMembersAgainstModel(t *testing.T) {
	for seed := range uint64(30) {
		w, m, model, host := newWorld(seed), (*Members)(nil), naive{}, Feed{}
		p, err := pool.New(pool.Config{Name: "p", Balance: pool.SourceHash})
		if err != nil {
			t.Fatal(err)
		}
		for step := range 80 {
			w.step()
			feeds := w.feeds()
			m, feeds = m.Next(w.static, feeds, w.rules, w.now), model.withHost(feeds, &host)
			model = model.next(w.static, feeds, w.rules, w.now)
			if want := model.backends(w.static, feeds); !slices.Equal(m.Backends(), want) {
				t.Fatalf("seed %d, step %d: %v\nwant %+v", seed, step, list(m), want)
			}
			checkPast(t, w, m)
			if saved := restored(t, m).Next(w.static, w.feeds(), w.rules, w.now); !saved.Equal(m) || !saved.Due().Equal(m.Due()) {
				t.Errorf("in another process: %v", list(saved))
			} else if w.IntN(4) == 0 {
				m = saved
			}
			if step%40 == 39 { // its table takes long to make
				checkPool(t, p, m)
			}
			if t.Failed() {
				t.Fatalf("seed %d, step %d: %v", seed, step, list(m))
			}
		}
	}
}

// restored returns what another process gets of m.
func restored(t *testing.T, m *Members) *Members {
	t.Helper()
	text, err := json.Marshal(m.Saved())
	if err != nil {
		t.Fatal(err)
	}
	var saved []SavedMember
	if err := json.Unmarshal(text, &saved); err != nil {
		t.Fatal(err)
	}
	return RestoreMembers(saved)
}

// checkPast checks what does not depend on what was before, and what follows from the same once more.
func checkPast(t *testing.T, w *world, m *Members) {
	t.Helper()
	if again := m.Next(w.static, w.feeds(), w.rules, w.now); !again.Equal(m) || again.Due() != m.Due() {
		t.Errorf("the same again: %v", list(again))
	}
	fresh := (*Members)(nil).Next(w.static, w.feeds(), w.rules, w.now)
	present := slices.DeleteFunc(slices.Clone(m.Backends()), func(c pool.BackendConfig) bool { return c.Vanished })
	if !slices.EqualFunc(present, fresh.Backends(), func(a, b pool.BackendConfig) bool { a.Name = b.Name; return a == b }) {
		t.Errorf("without a past: %v", list(fresh))
	}
	at := w.rules
	at.RemoveAfter = 0
	if later := m.Next(w.static, w.feeds(), at, w.now); !later.Equal(fresh) || !later.Due().IsZero() {
		t.Errorf("when its time is over: %v, want %v", list(later), list(fresh))
	}
	if due := m.Due(); !due.IsZero() {
		if soon := m.Next(w.static, w.feeds(), w.rules, due.Add(-1)); !soon.Equal(m) {
			t.Errorf("before %v: %v", due, list(soon))
		}
		if then := m.Next(w.static, w.feeds(), w.rules, due); len(then.Backends()) >= len(m.Backends()) {
			t.Errorf("at %v: %v", due, list(then))
		}
	}
}

// checkPool lets a pool take the members, and checks that clients go where they go in a new one.
func checkPool(t *testing.T, p *pool.Pool, m *Members) {
	t.Helper()
	c := pool.Config{Name: "p", Balance: pool.SourceHash, Backends: m.Backends()}
	if _, err := p.Update(c); err != nil {
		t.Fatal(err)
	}
	if change, err := p.Update(c); err != nil || len(change.Added)+len(change.Removed) > 0 {
		t.Errorf("the same again: %+v, %v", change, err)
	}
	fresh, err := pool.New(c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		client := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		if got, want := placed(p, client), placed(fresh, client); got != want {
			t.Errorf("client %v goes to %q, in a new pool to %q", client, got, want)
		}
	}
}

// placed returns where a client goes.
func placed(p *pool.Pool, client netip.Addr) string {
	b, err := p.Reserve(client, nil)
	if err != nil {
		return err.Error()
	}
	defer b.Release()
	return b.Name()
}
