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
	p := pidFile{path: path}
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
	next := pidFile{path: path} // of a process that has the same number, in another container
	if err := next.remove(); err != nil || readText(t, path) != own {
		t.Errorf("the file of the process before: %v", err)
	}
	if err := next.write(); err != nil {
		t.Fatal(err)
	}
	if err := p.remove(); err != nil || readText(t, path) != own {
		t.Errorf("the file of the process after: %v", err)
	}
	p = next
	for range 2 { // the second time it is gone already
		if err := p.remove(); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
	for wrong, path := range map[string]string{"a folder that is not there": filepath.Join(dir, "nowhere", "pid"), "a folder": dir} {
		if p := (pidFile{path: path}); p.write() == nil || p.remove() != nil {
			t.Errorf("%s is no error", wrong)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) != 1 {
		t.Errorf("left: %v %v", left, err)
	}
	if none := new(pidFile); none.write() != nil || none.remove() != nil {
		t.Error("no file is an error")
	}
}

// TestPIDFileIsNotFollowed: where others may put a link in its place, what that leads to stays as it is.
func TestPIDFileIsNotFollowed(t *testing.T) {
	dir := t.TempDir()
	p, secret := pidFile{path: filepath.Join(dir, "pid")}, filepath.Join(dir, "secret")
	writeText(t, secret, "secret")
	link := func() {
		t.Helper()
		if err := os.Symlink(secret, p.path); err != nil {
			t.Fatal(err)
		}
	}
	link()
	if err := p.write(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(p.path); err != nil || !info.Mode().IsRegular() || readText(t, secret) != "secret" {
		t.Errorf("it is %v (%v), and the other file says %q", info, err, readText(t, secret))
	}
	if err := os.Remove(p.path); err != nil {
		t.Fatal(err)
	}
	link()
	if err := p.remove(); err != nil || readText(t, secret) != "secret" {
		t.Error(err)
	}
	if _, err := os.Lstat(p.path); err != nil {
		t.Errorf("the link is gone: %v", err)
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
