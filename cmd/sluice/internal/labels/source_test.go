package labels

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/configs"
	"sluice/pool/discovery/docker"
)

// TestMemory: what has gone counts for a while, unless another one has its name, and comes back as what it is.
func TestMemory(t *testing.T) {
	now := time.Unix(2e9, 0)
	var m memory
	there := containers("a pool=x\nb pool=x\nc pool=x\nplain")
	see := func(names string) {
		m.see(slices.DeleteFunc(slices.Clone(there), func(c docker.Container) bool { return !strings.Contains(names, c.Name) }), now)
	}
	expect := func(after time.Duration, want string, due time.Duration) {
		t.Helper()
		now = now.Add(after)
		all, next := m.all(now)
		var names string
		for _, c := range all {
			names += c.Name
		}
		left := time.Duration(0)
		if !next.IsZero() {
			left = next.Sub(now)
		}
		if names != want || left != due {
			t.Errorf("%q count, for %v; want %q for %v", names, left, want, due)
		}
	}
	expect(0, "", 0)
	see("a b c plain")
	expect(0, "abcplain", 0)
	see("c")
	expect(remembered/2, "abc", remembered/2) // nothing was to remember of the one without labels
	see("b c")
	expect(remembered/2-1, "abc", 1)
	expect(1, "bc", 0)
	see("")
	expect(1, "bc", remembered-1)
	replaced := there[1]
	replaced.ID = "another"
	m.see([]docker.Container{replaced}, now)
	expect(0, "bc", remembered-1)
	if all, _ := m.all(now); all[0].ID != "another" {
		t.Errorf("the container that was replaced counts: %v", all)
	}
}

// TestLabels: what is read is asked for again when it is another one, a listener that cannot be had is left out for a while, and
// the files are those that were read last.
func TestLabels(t *testing.T) {
	asked := 0
	l := New("unix:/s", func() { asked++ })
	now := time.Now()
	expect := func(want string, err error, f *configs.File) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if got := shown(f); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	look := func(times int, warnings string) {
		t.Helper()
		got, _ := l.look(now)
		expectWarnings(t, got, warnings)
		if asked != times {
			t.Errorf("asked for another reading %d times, want %d", asked, times)
		}
		asked = 0
	}
	const web, one = "web [:79] tcp app\n", "app docker unix:/s pool=app least_conn header=off check=tcp"
	files := []configs.SourceText{{Name: "a.yaml", Text: `listeners: {web: {bind: ":79", pool: app}}`}}
	l.memory.see(containers("a pool=app listen=:80"), now)
	f, err := l.Read(files)
	expect(web+"docker:80 [:80] tcp app\n"+one, err, f)
	look(1, "") // it is not in force
	l.InForce(nil)
	look(0, "")
	if f, err = l.Read(nil); err != nil {
		t.Fatal(err)
	}
	expect("docker:80 [:80] tcp app\n"+one, err, f)
	l.InForce(errors.New("no room")) // so that what was in force before counts
	look(0, "what labels say is not in force: no room")
	f, err = l.Beside(nil)
	expect("docker:80 [:80] tcp app\n"+one, err, f)

	l.memory.see(containers("a pool=app listen=:80\nb pool=app listen=:81\nc pool=new listen=:80"), now)
	look(1, "what labels say is not in force: no room") // it may go well now
	f, err = l.Again()
	expect(web+"docker:80 [:80] tcp app\ndocker:81 [:81] tcp app\n"+one, err, f)
	l.InForce(nil)
	look(0, "container c: container a, which is older, has :80 for pool app, not new")

	if l.Fail("web", errors.New("no")) {
		t.Error("a listener of the files is held for one of labels")
	}
	if !l.Fail("docker:81", errors.New("listener docker:81: it is taken")) || l.Fail("docker:81", errors.New("again")) {
		t.Error("a listener that cannot be had is not left out, or twice")
	}
	f, err = l.Again()
	expect(web+"docker:80 [:80] tcp app\n"+one, err, f)
	l.InForce(nil)
	look(0, "container b: listener docker:81: it is taken\ncontainer c: container a")

	const idle = "container d: no listener is for pool lone: say where clients connect with the label sluice.listen"
	l.memory.see(containers("a pool=app listen=:80\nb pool=app listen=:81\nc pool=new listen=:80\nd pool=lone\ne pool=app"), now)
	look(0, "container b: listener docker:81: it is taken\ncontainer c: container a\n"+idle)
	l.memory.see(containers("a pool=app listen=:80\nb pool=app listen=:81\nc pool=new listen=:80"), now)
	look(0, "container b: listener docker:81: it is taken\ncontainer c: container a") // nobody serves who has gone

	now = time.Now().Add(failedAgain)
	look(1, "container b: listener docker:81: it is taken\ncontainer c: container a") // until it is read again
}
