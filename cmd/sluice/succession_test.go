package main

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/takeover"
	"sluice/configs"
	"sluice/pool/discovery"
)

// TestSuccessorThatNeverAsks: why a process did not come as far as a hand-over is kept for the status, and the next one may
// begin.
func TestSuccessorThatNeverAsks(t *testing.T) {
	w := &world{}
	check := func(says string) {
		t.Helper()
		if u := w.LastUpgrade(); u == nil || u.OK || !strings.Contains(u.Error, says) || u.At.IsZero() {
			t.Errorf("the status is %+v, want %q", u, says)
		}
	}
	_, err := w.succession.start(exec.Command("/nowhere/sluice"))
	if want := "start /nowhere/sluice: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("%v, want %q", err, want)
	}
	check("start /nowhere/sluice: no such file")

	s, err := w.succession.start(exec.Command("/bin/sh", "-c", "exit 0"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.await(s); err == nil || !strings.Contains(err.Error(), "is /bin/sh a sluice?") {
		t.Errorf("it says %v", err)
	}
	check("is /bin/sh a sluice?")

	if s, err = w.succession.start(exec.Command("/bin/sh", "-c", "exit 1")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.await(s); err == nil || !strings.Contains(err.Error(), "exit status 1; the log has what it said") {
		t.Errorf("it says %v", err)
	}
	check("exit status 1")
}

// TestFailedReloadIsOver: who takes over has read the configuration that was wrong before.
func TestFailedReloadIsOver(t *testing.T) {
	failed := time.Now().Add(-time.Hour)
	w := &world{watch: discovery.NewWatch(discovery.Options{}), from: &takeOver{state: takeover.State{LastReload: &admin.LastReload{At: failed, Error: "no"}}}}
	w.now.Store(&generation{})
	w.adoptState(&configs.File{})
	if last := w.Generation().LastReload; last == nil || !last.OK || last.Error != "" || !last.At.After(failed) {
		t.Errorf("the last reload is %+v", last)
	}
}
