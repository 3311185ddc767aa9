package dns

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sluice/pool"
	"sluice/pool/discovery"
	"sluice/sysutil/systest"
)

// TestRun: an answer is asked for again when its TTL is over, within the bounds of the configuration; what was not
// answered is tried again after pauses that grow, and what was known stays known meanwhile.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const s = time.Second
		had := func(name string) map[question]bool { return map[question]bool{{name, 1}: true} }
		one := []discovery.Found{{Address: pool.Address{TCP: netip.MustParseAddrPort("10.0.0.1:80")}}}
		failed := errors.New("SERVFAIL")
		steps := []struct {
			answer      *answer
			err         error
			before      string // the name that had records at the last answer
			least, most time.Duration
		}{
			{&answer{found: one, ttl: 30 * s, had: had("a")}, nil, "", 30 * s, 30 * s},
			{&answer{found: one, ttl: 0, had: had("b")}, nil, "a", 2 * s, 2 * s},
			{&answer{found: one, ttl: 24 * time.Hour, had: had("c")}, nil, "b", 40 * s, 40 * s},
			{nil, failed, "c", 800 * time.Millisecond, 1200 * time.Millisecond},
			{nil, failed, "c", 1600 * time.Millisecond, 2400 * time.Millisecond},
			{nil, failed, "c", 3200 * time.Millisecond, 4800 * time.Millisecond},
			{&answer{ttl: 7 * s}, nil, "c", 7 * s, 7 * s},
			{nil, failed, "", 800 * time.Millisecond, 1200 * time.Millisecond},
			{&answer{found: one, ttl: 40 * s, partial: true, warnings: []string{"no AAAA"}, had: had("d")}, nil, "", 2 * s, 2400 * time.Millisecond},
			{&answer{found: one, ttl: 40 * s, partial: true, had: had("d")}, nil, "d", 3200 * time.Millisecond, 4800 * time.Millisecond},
			{&answer{found: one, ttl: 1 * s, partial: true, had: had("d")}, nil, "d", 2 * s, 2 * s},
			{&answer{found: one, ttl: 10 * s, had: had("d")}, nil, "d", 10 * s, 10 * s},
			{nil, failed, "d", 800 * time.Millisecond, 1200 * time.Millisecond},
		}
		c := DefaultConfig("app", 80)
		c.MinTTL, c.MaxTTL = 2*s, 40*s
		source := New(c).(*source)
		step := 0
		due := time.Now()
		source.look = func(_ context.Context, before map[question]bool) (*answer, error) {
			if step > 0 && !time.Now().Equal(due) {
				t.Errorf("step %d at %v, want %v", step, time.Now(), due)
			}
			if is := steps[step]; is.before == "" && len(before) > 0 || is.before != "" && !before[question{is.before, 1}] {
				t.Errorf("step %d: known before is %v, want %s", step, before, is.before)
			}
			return steps[step].answer, steps[step].err
		}
		ctx, cancel := context.WithCancel(t.Context())
		source.Run(ctx, func(r discovery.Report) {
			is := steps[step]
			if pause := time.Until(r.Next); pause < is.least || pause > is.most {
				t.Errorf("step %d: asked again after %v, want %v to %v", step, pause, is.least, is.most)
			}
			if r.Err != is.err || is.answer != nil && (len(r.Found) != len(is.answer.found) || len(r.Warnings) != len(is.answer.warnings)) {
				t.Errorf("step %d: report %+v", step, r)
			}
			due = r.Next
			if step++; step == len(steps) {
				cancel()
			}
		})
		if step != len(steps) {
			t.Errorf("ended after %d steps", step)
		}
	})
}

// TestLongestPause: no pause is longer than max_ttl, and without a network it is the last of the pauses for what fails.
func TestLongestPause(t *testing.T) {
	for most, want := range map[time.Duration]time.Duration{3 * time.Second: 3 * time.Second, time.Hour: 36 * time.Second} {
		c := DefaultConfig("app", 80)
		c.MaxTTL = most
		source, retry, longest := New(c).(*source), discovery.Retry{}, time.Duration(0)
		for range 100 {
			longest = max(longest, source.pause(nil, errors.New("refused"), &retry))
		}
		if longest > want || longest < want*8/10 {
			t.Errorf("max_ttl %v: the longest pause is %v, want up to %v", most, longest, want)
		}
	}
}

// TestEndOfRun: a source that is no longer wanted ends in the middle of a question, and says nothing more.
func TestEndOfRun(t *testing.T) {
	s := listen(t, "127.0.0.1", silent)
	source := system(DefaultConfig("app.internal", 80), func(s *settings) { s.timeout = 10 * patience }, s.at)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		source.Run(ctx, func(r discovery.Report) { t.Errorf("report %+v", r) })
	}()
	if !systest.Wait(patience, func() bool { return len(s.questions()) > 0 }) {
		t.Fatal("it asks nothing")
	}
	cancel()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("it still runs")
	}
}

// TestIdle: between two questions a source has no descriptor.
func TestIdle(t *testing.T) {
	s := listen(t, "127.0.0.1", zone{app}.answer(t))
	source := system(DefaultConfig("app.internal", 80), nil, s.at)
	if got := text(source.look(t.Context(), nil)); got != "10.0.0.1:80" { // the poller of the runtime is there now
		t.Fatal(got)
	}
	before := systest.OpenFiles()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reports := make(chan discovery.Report)
	go source.Run(ctx, func(r discovery.Report) { reports <- r })
	if r := <-reports; r.Err != nil || len(r.Found) != 1 {
		t.Fatalf("report %+v", r)
	}
	if left := systest.LeftFiles(before, patience); len(left) > 0 {
		t.Errorf("still open: %q", left)
	}
}
