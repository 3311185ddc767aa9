package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// The file names this process, whatever it said before, and goes with it, unless another process has put its own there.
func TestPIDFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sluice.pid")
	p := pidFile(path)
	own := fmt.Sprintf("%d\n", os.Getpid())
	for _, before := range []string{"", "4711\n"} {
		if before != "" {
			writeText(t, path, before)
		}
		if err := p.write(); err != nil {
			t.Fatal(err)
		}
		if got := readText(t, path); got != own {
			t.Errorf("the file says %q, want %q", got, own)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("it is %v, want what everybody may read (%v)", info, err)
	}
	writeText(t, path, "4711\n")
	if err := p.remove(); err != nil || readText(t, path) != "4711\n" {
		t.Errorf("the file of another process: %v", err)
	}
	writeText(t, path, own)
	for range 2 { // the second time it is gone already
		if err := p.remove(); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
	if err := pidFile(filepath.Join(dir, "nowhere", "pid")).write(); err == nil {
		t.Error("a folder that is not there is no error")
	}
	if err := pidFile(dir).write(); err == nil {
		t.Error("a folder in its place is no error")
	}
	if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) != 1 {
		t.Errorf("left: %v %v", left, err)
	}
	if none := pidFile(""); none.write() != nil || none.remove() != nil {
		t.Error("no file is an error")
	}
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
