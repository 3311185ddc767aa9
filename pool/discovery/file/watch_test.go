package file

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestWayTo: every folder, link and target on the way is there, and nothing behind what is missing.
func TestWayTo(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(root, "a", "b"), 0o755))
	write(t, filepath.Join(root, "a", "b", "list"), "none")
	for link, to := range map[string]string{
		"relative": "a/./b", "absolute": filepath.Join(root, "a", "b"), "a/up": "../a/b/list", "two": "relative/list",
		"none": "gone/list", "loop": "loop",
	} {
		must(t, os.Symlink(to, filepath.Join(root, link)))
	}
	f := func(path string, want ...string) {
		t.Helper()
		for i := range want {
			want[i] = filepath.Join(root, want[i])
		}
		got := slices.DeleteFunc(wayTo(root+"/"+path), func(p string) bool { return len(p) <= len(root) })
		if !slices.Equal(got, want) {
			t.Errorf("%s:\ngot  %v\nwant %v", path, got, want)
		}
	}
	f("a/b/list", "a", "a/b", "a/b/list")
	f("a//b/../b/list", "a", "a/b", "a/b", "a/b/list")
	f("a/b/list/more", "a", "a/b", "a/b/list")
	f("a/c/list", "a", "a/c")
	f("relative/list", "relative", "a", "a/b", "a/b/list")
	f("absolute/list", "absolute", "a", "a/b", "a/b/list")
	f("a/up", "a", "a/up", "a", "a/b", "a/b/list")
	f("two", "two", "relative", "a", "a/b", "a/b/list")
	f("none", "none", "gone")
	f("loop", slices.Repeat([]string{"loop"}, maxLinks+1)...)
}
