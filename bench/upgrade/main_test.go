package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/bench/record"
	"sluice/sysutil/systest"
)

// patient is how long a test waits for what must happen. Nothing waits for it to pass.
const patient = time.Minute

// TestMain lets the test binary be the keeper, as the program itself is.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == keeperArg {
		record.Exit("upgrade", keep(os.Stdin, os.Stdout))
	}
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin")             // where Debian has haproxy and nginx
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0") // else each keeper's end takes a second with the race detector
	os.Exit(m.Run())
}

// TestKeeperEndsWhatItStarted: a child, one that has left its parent and its group, and one that does not want to end.
func TestKeeperEndsWhatItStarted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k, err := startKeeper()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.run("no-such-program"); err == nil || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("a program that does not exist is started: %v", err)
	}
	const script = `cd "$1"; echo $$ >child.tmp; mv child.tmp child
		(setsid sh -c 'echo $$ >left.tmp; mv left.tmp left; exec sleep 600' &)
		(setsid sh -c 'trap "" TERM; echo $$ >deaf.tmp; mv deaf.tmp deaf; while :; do sleep 600; done' &)
		exec sleep 600`
	pid, err := k.run("sh", "-c", script, "sh", dir)
	if err != nil {
		t.Fatal(err)
	}
	pids := []int{readPID(t, dir, "child"), readPID(t, dir, "left"), readPID(t, dir, "deaf")}
	if pids[0] != pid {
		t.Errorf("the keeper says %d, the child %d", pid, pids[0])
	}
	// The orphans are the keeper's, as soon as who started them has ended.
	kept := func() bool {
		now, err := k.pids()
		return err == nil && len(now) >= 3
	}
	if !systest.Wait(patient, kept) {
		now, err := k.pids()
		t.Errorf("kept are %v, %v; want %v and what they started", now, err, pids)
	}
	if n, err := k.resident(); err != nil || n <= 0 {
		t.Errorf("resident %d, %v", n, err)
	}
	if err := k.end(); err != nil {
		t.Error(err)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
			t.Errorf("process %d: %v, want none", pid, err)
		}
	}
}

func readPID(t *testing.T, dir, name string) (pid int) {
	t.Helper()
	read := func() bool {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	}
	if !systest.Wait(patient, read) {
		t.Fatalf("no process %s", name)
	}
	return pid
}

// TestKeeperOutlivesNobody: it ends what it started when its own starter is gone, however that went.
func TestKeeperOutlivesNobody(t *testing.T) {
	t.Parallel()
	k, err := startKeeper()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := k.run("sleep", "600")
	if err != nil {
		t.Fatal(err)
	}
	k.stdin.Close() // as the kernel does
	if err := k.cmd.Wait(); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("process %d: %v, want none", pid, err)
	}
}

func small() options {
	return options{runs: 2, sessions: 12, upgrades: 3, watched: 4, rest: time.Millisecond, rate: 200,
		look: 50 * time.Millisecond, calm: 300 * time.Millisecond}
}

// TestUpgradesOfOthers upgrades HAProxy and nginx three times, with sessions that stay, in each of the ways.
func TestUpgradesOfOthers(t *testing.T) {
	for _, s := range systems() {
		if s.program == sluice {
			continue
		}
		t.Run(s.name+" "+s.way, func(t *testing.T) {
			t.Parallel()
			c, err := measureChain(t.Context(), small(), s)
			if err != nil {
				t.Fatal(err)
			}
			checkChain(t, &c)
		})
	}
}

func checkChain(t *testing.T, c *chain) {
	t.Helper()
	done, alive, leaves := 3, 12, true
	switch {
	case c.system.way == systems()[4].way:
		done = 1 // the master of before is there, so the next two are ignored
	case c.system.limit > 0:
		alive, leaves = 0, false
	}
	if c.done != done || (c.refused != "") != (done < 3) || len(c.trials) != 3 {
		t.Errorf("%d upgrades of %d, refused %q; want %d", c.done, len(c.trials), c.refused, done)
	}
	l := &c.losses
	if l.alive != alive || l.cut != 12-alive || (l.sessions != nil) != (alive == 0) {
		t.Errorf("%d sessions alive, %d cut, %v; want %d alive", l.alive, l.cut, l.sessions, alive)
	}
	if l.made == 0 {
		t.Errorf("no connection got a reply: %v", l.others)
	}
	if c.processes0 < 1 || (c.processes > c.processes0) != leaves {
		t.Errorf("%d processes before, %d after; want more: %v", c.processes0, c.processes, leaves)
	}
	if c.resident <= 0 || c.resident0 <= 0 {
		t.Errorf("resident %d, without upgrades %d", c.resident, c.resident0)
	}
	for i, trial := range c.trials {
		if trial.upgrade.calls.Longest == 0 || trial.upgrade.sessions.Elapsed < small().look || trial.quiet.sessions.Elapsed < small().look {
			t.Errorf("upgrade %d: looked for %v and %v, longest call %v", i, trial.upgrade.sessions.Elapsed,
				trial.quiet.sessions.Elapsed, trial.upgrade.calls.Longest)
		}
	}
}
