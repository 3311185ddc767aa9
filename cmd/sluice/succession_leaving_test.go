package main

import (
	"errors"
	"os/exec"
	"testing"
)

// A process that was started to follow, and has not asked yet when this one is about to end, follows no more: who ends
// sluice ends it. Nor does its end let another one begin.
func TestNobodyFollowsWhoLeaves(t *testing.T) {
	s := new(succession)
	child, err := s.start(exec.Command("sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	defer child.end()
	pid := child.cmd.Process.Pid
	if err := s.enter(new(handover), pid+1); err != errUnderWay {
		t.Errorf("another process: %v", err)
	}
	s.bar(errLeaving)
	if err := s.enter(new(handover), pid); !errors.Is(err, errLeaving) || child.arrived {
		t.Errorf("the process that was started: %v", err)
	}
	if !s.quit(child, errLeaving) {
		t.Error("it has asked, they say")
	}
	if _, err := s.start(exec.Command("sleep", "1000")); !errors.Is(err, errLeaving) {
		t.Errorf("the next one: %v", err)
	}
}
