package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A successor is called as this process was, but for whom that has taken over.
func TestWithoutTakeOver(t *testing.T) {
	for _, f := range []struct{ args, want string }{
		{"run -c x", "run -c x"},
		{"run --take-over /s -c x", "run -c x"},
		{"run -c x --take-over=/s --pid-file p", "run -c x --pid-file p"},
		{"run -c x --take-over", "run -c x"},
	} {
		if got := withoutTakeOver(strings.Fields(f.args)); !slices.Equal(got, strings.Fields(f.want)) {
			t.Errorf("%s: %v", f.args, got)
		}
	}
}

// A program is the one that runs as long as its file is not another one, also by a link that is turned.
func TestIsRunning(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "sluice")
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	if got := startedFrom(link); got != link || !isRunning(link) {
		t.Errorf("started from %s: %s", link, got)
	}
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	writeText(t, link, "another program")
	if isRunning(link) {
		t.Error("another file is the program that runs")
	}
	if got := startedFrom(link); got != self {
		t.Errorf("started from another file: %s, want %s", got, self)
	}
}
