package main

import (
	"testing"

	"sluice/bench/load"
	"sluice/bench/record"
)

// TestUpgradesOfSluice: nobody comes to harm, one process is left, and every figure is there.
func TestUpgradesOfSluice(t *testing.T) {
	t.Parallel()
	root, err := record.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o := small()
	o.bin = t.TempDir()
	if err := record.Build(t.Context(), root, o.bin, "./cmd/sluice"); err != nil {
		t.Fatal(err)
	}
	s, err := measureSize(t.Context(), o, 200)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.losses.harm(); err != nil || s.losses.alive != 200 || s.before <= 0 || s.after <= 0 {
		t.Errorf("%v: %+v, resident %d and %d", err, s.losses, s.before, s.after)
	}
	if len(s.trials) != o.runs {
		t.Fatalf("%d upgrades, want %d", len(s.trials), o.runs)
	}
	for i, trial := range s.trials {
		told := trial.told
		if told.total <= 0 || told.accept <= 0 || told.session <= 0 || told.total > trial.outside || told.session > told.total {
			t.Errorf("upgrade %d: told %+v, as seen by who asked %v", i, told, trial.outside)
		}
		for _, w := range []*load.Window{trial.upgrade.sessions, trial.quiet.sessions} {
			if len(w.Pauses) != o.watched || w.Pauses[0] == 0 {
				t.Errorf("upgrade %d: pauses %v", i, w.Pauses)
			}
		}
	}
	c, err := measureChain(t.Context(), o, systems()[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := c.losses.harm(); err != nil || c.done != 3 || c.processes0 != 1 || c.processes != 1 || c.losses.alive != 12 {
		t.Errorf("%v: %d upgrades, %d processes before, %d after, %+v", err, c.done, c.processes0, c.processes, c.losses)
	}
}
