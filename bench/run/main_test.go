package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/bench/load"
	"sluice/bench/record"
)

// TestMain lets the test binary be the backend, as the program itself is.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == backendArg {
		record.Exit("bench", serveBackend(os.Args[2:]))
	}
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin") // where Debian has haproxy and nginx
	dir, err := os.MkdirTemp("", "bench-test-")
	if err != nil {
		record.Exit("bench", err)
	}
	bin, startPatience = dir, patient
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// patient is how long a test waits for what must happen. It is long because
// machines that test are busy; nothing waits for it to pass.
const patient = time.Minute

// bin is where buildIOCopy puts the program.
var bin string

var buildIOCopy = sync.OnceValue(func() error {
	_, err := build(context.Background(), bin, []system{{rival: ioCopy}})
	return err
})

// TestMeasureRealSystem takes every kind of row through the plain proxy.
func TestMeasureRealSystem(t *testing.T) {
	if err := buildIOCopy(); err != nil {
		t.Fatal(err)
	}
	s := system{name: "io.Copy", rival: ioCopy, idleSessions: 500, command: ioCopyCommand} // many more than it has carried before
	checkMeasure(t, exchangeRow(10, 8<<10, "8K"), s)
	checkMeasure(t, withProxy(exchangeRow(1, 64, "64B")), s)
	checkMeasure(t, connectRow(), s)
	checkMeasure(t, bulkRow(load.Upload, "bulk-up", ""), s)
	checkMeasure(t, mixedRow("mixed", "", 0), s)
	checkMeasure(t, idleRow(), s)
}

// TestMeasureOfTheDoor: every system understands what it is told of names, refusals, silence and askers.
func TestMeasureOfTheDoor(t *testing.T) {
	if _, err := build(context.Background(), bin, []system{{rival: sluice}}); err != nil {
		t.Fatal(err)
	}
	for r, want := range map[*row]int{new(namesRow()): 3, new(refusedRow()): 3, new(silentRow()): 3, new(askedRow()): 1} {
		took := 0
		for _, s := range systems() {
			if s.takesPart(*r) {
				checkMeasure(t, *r, s)
				took++
			}
		}
		if took != want {
			t.Errorf("%s: %d systems take part, want %d", r.name, took, want)
		}
	}
}

func checkMeasure(t *testing.T, r row, s system) {
	t.Helper()
	var got figures
	var err error
	// A busy machine may not get to all of it in the first time.
	for d := 300 * time.Millisecond; d < patient && !complete(r, got); d *= 4 {
		if got, err = measure(context.Background(), r, s, bin, d); err != nil && !errors.Is(err, load.ErrNothingMoved) {
			break
		}
	}
	if err != nil {
		t.Errorf("%s, %s: %v", r.name, s.name, err)
		return
	}
	if len(got) != len(r.columns) {
		t.Errorf("%s, %s: figures %v, want %v", r.name, s.name, got, r.columns)
	}
	for _, m := range r.columns {
		if got[m] <= 0 {
			t.Errorf("%s, %s: %s is %v", r.name, s.name, m, got[m])
		}
	}
}

// complete reports whether every column of a row has a figure.
func complete(r row, got figures) bool {
	return !slices.ContainsFunc(r.columns, func(m metric) bool { return got[m] <= 0 })
}

// TestWrongDutyFails: a system that lets clients in, or leads a name to the pool
// of the others, does not get a figure.
func TestWrongDutyFails(t *testing.T) {
	defer func(d time.Duration) { startPatience = d }(startPatience)
	startPatience = 300 * time.Millisecond
	f := func(r row, spoil func(*setup)) {
		t.Helper()
		s := system{name: "HAProxy", command: func(s setup) (command, error) {
			spoil(&s)
			return haproxyCommand("")(s)
		}}
		_, err := measure(context.Background(), r, s, bin, time.Millisecond)
		if err == nil || !strings.Contains(err.Error(), "no answer") {
			t.Errorf("%s: got %v, want no answer", r.name, err)
		}
	}
	f(refusedRow(), func(s *setup) { s.deny = false })
	f(namesRow(), func(s *setup) { s.backends = []netip.AddrPort{netip.MustParseAddrPort(otherBackend)} })
}

// TestIdleDescriptorsAreCounted: a process with 6 descriptors per session.
func TestIdleDescriptorsAreCounted(t *testing.T) {
	if err := buildIOCopy(); err != nil {
		t.Fatal(err)
	}
	b, err := newBed(context.Background(), system{name: "io.Copy", command: ioCopyCommand}, bin, duty{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.close(nil)
	before, err := b.usage()
	if err != nil {
		t.Fatal(err)
	}
	_, err = load.Run(context.Background(), load.Plan{Target: b.target,
		Flows: []load.Flow{{Work: load.Hold, Sessions: 40, Size: 64}},
		Begin: func() error {
			during, err := b.usage()
			// Both sockets of a session at least; how many pipes are held at
			// this moment is io.Copy's business.
			if opened := during.descriptors - before.descriptors; opened < 80 || opened > 240 {
				t.Errorf("%d descriptors for 40 sessions", opened)
			}
			return err
		}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestBrokenSystemFailsItsCell(t *testing.T) {
	defer func(d time.Duration) { startPatience = d }(startPatience)
	f := func(name, script string, has time.Duration, want string) {
		t.Helper()
		startPatience = has
		s := system{name: "broken", command: func(setup) (command, error) {
			return command{path: "sh", args: []string{"-c", script}}, nil
		}}
		r := newResults([]row{exchangeRow(1, 64, "64B")}, []system{s})
		o := options{rounds: 2, duration: time.Millisecond, rows: r.rows, systems: r.systems, stderr: io.Discard}
		if err := measureAll(context.Background(), o, "", r); err != nil {
			t.Fatal(err)
		}
		if got := r.failures(); len(got) != 2 || !strings.Contains(got[1], want) {
			t.Errorf("%s: failures %q, want two with %q", name, got, want)
		}
	}
	f("ends at once", "echo no luck >&2; exit 3", patient, "(0 sessions answered); broken ended: exit status 3; broken said: no luck")
	f("never answers as agreed", `echo hello; exec sleep 60`, 300*time.Millisecond, "no answer")
}

func TestInterruptStopsMeasuring(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	o := options{rounds: 1, rows: []row{connectRow()}, systems: systems()[:1], stderr: io.Discard}
	if err := measureAll(ctx, o, "", newResults(o.rows, o.systems)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestStopLeavesNothingBehind(t *testing.T) {
	defer func(d time.Duration) { stopPatience = d }(stopPatience)
	f := func(name, script string, wantErr bool) {
		t.Helper()
		stopPatience = patient
		if wantErr {
			stopPatience = time.Second
		}
		started := filepath.Join(t.TempDir(), "started")
		p, err := startProcess(name, command{path: "sh", args: []string{"-c", script}, env: []string{"STARTED=" + started}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		awaitFile(t, started)
		if err := p.stop(); (err != nil) != wantErr {
			t.Errorf("%s: stop returned %v", name, err)
		}
		// The group is empty once init has reaped what was orphaned.
		deadline := time.Now().Add(patient)
		for syscall.Kill(-p.pid(), 0) == nil && !onlyZombies(p.pid()) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: a process of the group is still there", name)
			}
		}
	}
	f("obeys", `echo > $STARTED; exec sleep 60`, false)
	f("ignores", `trap "" TERM; echo > $STARTED; while :; do sleep 60; done`, true)
	f("leaves a worker", `trap "exit 0" TERM; (trap "" TERM; exec sleep 60) & echo > $STARTED; wait`, false)
}

func awaitFile(t *testing.T, name string) {
	t.Helper()
	deadline := time.Now().Add(patient)
	for {
		if _, err := os.Stat(name); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s was not written", name)
		}
	}
}

// onlyZombies reports whether all that is left of a process group is waiting
// for a parent that does not reap, as in a container without an init.
func onlyZombies(group int) bool {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		text, _ := os.ReadFile(name)
		// After the command: state, parent, group.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) > 2 && fields[2] == strconv.Itoa(group) && fields[0] != "Z" {
			return false
		}
	}
	return true
}
