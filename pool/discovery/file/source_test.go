package file

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"sluice/pool/discovery"
)

const one, two, three = "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"

// TestChanges: a file that is written in place, replaced, removed, broken and mended is read each time, and each time there
// is one report. What is broken and comes back as it was is said again.
func TestChanges(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "list")
	write(t, path, one)
	r := run(t, path)
	r.finds(one)
	replace(t, path, one, two)
	r.finds(one, two)
	replace(t, path, "none")
	r.finds()
	replace(t, path, "10.0.0.1")
	r.fails(path + ": not an address: 10.0.0.1")
	replace(t, path, "none")
	r.finds()
	must(t, os.Remove(path))
	r.fails("read " + path + ": no such file or directory")
	replace(t, path, "none")
	r.finds()
	write(t, path, three)
	r.comesTo(three)
	replace(t, path, three) // nothing new
	write(t, path+".other", one)
	replace(t, path, two)
	r.finds(two)
}

// TestConfigMap swaps a link that the file is behind of, as Kubernetes does it.
func TestConfigMap(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	version := func(name, address string) {
		t.Helper()
		must(t, os.Mkdir(filepath.Join(folder, name), 0o755))
		write(t, filepath.Join(folder, name, "list"), address)
		must(t, os.Symlink(name, filepath.Join(folder, "..data_tmp")))
		must(t, os.Rename(filepath.Join(folder, "..data_tmp"), filepath.Join(folder, "..data")))
	}
	path := filepath.Join(folder, "list")
	version("..2026_11_28_1", one)
	must(t, os.Symlink("..data/list", path))
	r := run(t, path)
	r.finds(one)
	version("..2026_11_28_2", two)
	r.finds(two)
	must(t, os.RemoveAll(filepath.Join(folder, "..2026_11_28_1")))
	version("..2026_11_28_3", three)
	r.finds(three)
	replace(t, filepath.Join(folder, "..2026_11_28_3", "list"), one) // behind both links
	r.finds(one)
	must(t, os.Remove(filepath.Join(folder, "..data")))
	r.fails("read " + path + ": no such file or directory")
	version("..2026_11_28_4", two)
	r.finds(two)
}

// TestLinksElsewhere: what a link leads to may be in another folder, or not be there yet.
func TestLinksElsewhere(t *testing.T) {
	t.Parallel()
	folder, elsewhere := t.TempDir(), t.TempDir()
	path := filepath.Join(folder, "list")
	must(t, os.Symlink(filepath.Join(elsewhere, "deep", "list"), path))
	r := run(t, path)
	r.fails("read " + path + ": no such file or directory")
	must(t, os.Mkdir(filepath.Join(elsewhere, "deep"), 0o755))
	replace(t, filepath.Join(elsewhere, "deep", "list"), one)
	r.finds(one)
	replace(t, path, two) // a file in place of the link
	r.finds(two)
	must(t, os.Remove(path))
	must(t, os.Symlink(path, path))
	r.comesToFail("read " + path + ": too many levels of symbolic links")
	replace(t, path, three)
	r.finds(three)
}

// TestFolderAppears: folders on the way may come one by one, and the file at last.
func TestFolderAppears(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "a", "b", "list")
	r := run(t, path)
	r.fails("read " + path + ": no such file or directory")
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	replace(t, path, one)
	r.finds(one)
	must(t, os.RemoveAll(filepath.Join(folder, "a")))
	r.fails("read " + path + ": no such file or directory")
	must(t, os.WriteFile(filepath.Join(folder, "a"), nil, 0o644))
	r.fails("read " + path + ": not a directory")
	must(t, os.Remove(filepath.Join(folder, "a")))
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	replace(t, path, two)
	r.comesTo(two)
}

// TestFolderReplaced: the file is that of the folder that has the name now, and what happens in the other one is nothing.
func TestFolderReplaced(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	folder, next, old := filepath.Join(root, "a"), filepath.Join(root, "next"), filepath.Join(root, "old")
	for path, address := range map[string]string{folder: one, next: two} {
		must(t, os.Mkdir(path, 0o755))
		write(t, filepath.Join(path, "list"), address)
	}
	path := filepath.Join(folder, "list")
	r := run(t, path)
	r.finds(one)
	must(t, os.Rename(folder, old))
	must(t, os.Rename(next, folder))
	for report := r.next(); report.Err != nil || addressesOf(report)[0] != two; report = r.next() {
	}
	replace(t, filepath.Join(old, "list"), three)
	replace(t, path, one, two)
	r.finds(one, two)
	for range 3 { // a file system likes to give a new folder the number of one that has just gone
		must(t, os.RemoveAll(folder))
		must(t, os.Mkdir(folder, 0o755))
		write(t, path, one)
		r.comesToOrFails(one)
		replace(t, path, two)
		r.comesToOrFails(two)
	}
}

// comesToOrFails takes reports until there is one with this address, whatever is before it.
func (r *running) comesToOrFails(address string) {
	r.t.Helper()
	for {
		report := r.next()
		if got := addressesOf(report); len(got) == 1 && got[0] == address {
			return
		}
	}
}

// TestWrittenSlowly: a file that is emptied and written again bit by bit is never an empty list, and comes to the whole.
func TestWrittenSlowly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "list")
	write(t, path, one)
	r := run(t, path)
	r.finds(one)
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	for _, line := range []string{one, two, three} {
		_, err := f.WriteString(line[:4])
		must(t, err)
		must(t, f.Sync())
		_, err = f.WriteString(line[4:] + "\n")
		must(t, err)
		must(t, f.Sync())
	}
	r.comesTo(one, two, three)
	must(t, os.Truncate(path, 0))
	r.fails(path + ": not an address: ")
	write(t, path, two)
	r.comesTo(two)
}

// TestWhatIsNoFile: a folder or a pipe in its place is an error, and the file is read once it is there.
func TestWhatIsNoFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "list")
	must(t, os.Mkdir(path, 0o755))
	r := run(t, path)
	r.fails("read " + path + ": it is a folder: name a file in it")
	must(t, os.Remove(path))
	r.fails("read " + path + ": no such file or directory")
	must(t, syscall.Mkfifo(path, 0o600))
	r.fails("read " + path + ": it is no file: its type is p---------")
	replace(t, path, one)
	r.finds(one)
}

// TestUnreadable: an error of the file system is said without the path twice.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	const path = "/proc/self/mem" // nothing is mapped at 0
	if _, err := New(Config{Path: path}, parseLines).Ask(context.Background()); err == nil || err.Error() != "read "+path+": input/output error" {
		t.Errorf("error %v", err)
	}
	run(t, path).fails("read " + path + ": input/output error")
}

// TestWrittenElsewhere: a file is written by another link to it, as one that is mounted alone into a container is written
// outside.
func TestWrittenElsewhere(t *testing.T) {
	t.Parallel()
	folder, elsewhere := t.TempDir(), t.TempDir()
	path, link := filepath.Join(folder, "list"), filepath.Join(elsewhere, "list")
	write(t, path, one)
	must(t, os.Link(path, link))
	r := run(t, path)
	r.finds(one)
	write(t, link, one, two)
	r.comesTo(one, two)
	must(t, os.Truncate(link, 0))
	r.fails(path + ": not an address: ")
	write(t, link, three)
	r.comesTo(three)
}

// TestReplacedOften: the folders on the way stay under watch while files follow each other at its end, and each of these is
// heard of though it is written by another link.
func TestReplacedOften(t *testing.T) {
	t.Parallel()
	folder, elsewhere := t.TempDir(), t.TempDir()
	path, link := filepath.Join(folder, "list"), filepath.Join(elsewhere, "list")
	write(t, path, one)
	var begun atomic.Int64
	r := runBy(t, &source{Config: Config{Path: path}, parse: parseLines, pauses: never, begin: func() (*fsnotify.Watcher, error) {
		begun.Add(1)
		return fsnotify.NewWatcher()
	}})
	r.finds(one)
	for range 3 {
		replace(t, path, two)
		r.finds(two)
		must(t, os.Link(path, link))
		write(t, link, two, three)
		r.comesTo(two, three)
		must(t, os.Remove(path))
		r.fails("read " + path + ": no such file or directory")
		must(t, os.Rename(link, path))
		r.finds(two, three)
	}
	if n := begun.Load(); n != 1 {
		t.Errorf("watching was begun %d times, want 1", n)
	}
	must(t, os.Remove(path))
	r.fails("read " + path + ": no such file or directory")
	write(t, link, one)
	must(t, os.Symlink(link, path))
	r.finds(one)
	write(t, link, three)
	r.comesTo(three)
}

// TestSilence: where the kernel tells nothing, as of a network file system, or because the user has as many watches as may
// be, the file is read when its time or size is another one, and when it could not be read before.
func TestSilence(t *testing.T) {
	t.Parallel()
	deaf := func() (*fsnotify.Watcher, error) { // watches nothing
		w, err := fsnotify.NewWatcher()
		if err == nil {
			err = w.Close()
		}
		return w, err
	}
	full := func() (*fsnotify.Watcher, error) { return nil, syscall.EMFILE }
	for name, s := range map[string]*source{
		"deaf":   {pauses: pauses{safety: time.Hour, blind: 20 * time.Millisecond}, begin: deaf},
		"full":   {pauses: pauses{safety: time.Hour, blind: 20 * time.Millisecond}, begin: full},
		"safety": {pauses: pauses{safety: 20 * time.Millisecond, blind: time.Hour}, begin: fsnotify.NewWatcher},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "list")
			s.Path, s.parse = path, parseLines
			r := runBy(t, s)
			r.fails("read " + path + ": no such file or directory")
			replace(t, path, one)
			r.finds(one)
			replace(t, path, two)
			r.finds(two)
			write(t, path, one, two)
			r.comesTo(one, two)
			must(t, os.Remove(path))
			r.fails("read " + path + ": no such file or directory")
			replace(t, path, one, two)
			r.finds(one, two)
		})
	}
}

// TestQuiet: a file that nobody touches is looked at, and not read again.
func TestQuiet(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "list")
	write(t, path, one)
	seen := lookAt(path)
	if seen.passed(path) {
		t.Error("it has passed at once")
	}
	w := watch{path: path, pauses: pauses{safety: time.Millisecond, blind: time.Hour}, begin: fsnotify.NewWatcher}
	w.follow()
	defer w.close()
	if got := w.wait(context.Background()); got != silence || seen.passed(path) {
		t.Errorf("waited for %v, passed %t", got, seen.passed(path))
	}
	must(t, os.Chtimes(path, time.Time{}, time.Unix(1, 0)))
	if !seen.passed(path) {
		t.Error("it has another time and has not passed")
	}
}

// TestHuge: what is too large is not read to its end, and nobody has to take the beginning for all of it.
func TestHuge(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "list")
	must(t, os.WriteFile(path, bytes.Repeat([]byte("x"), MaxSize+100), 0o644))
	size := 0
	parse := func(_ string, data []byte) ([]discovery.Found, error) {
		size = len(data)
		return nil, nil
	}
	if _, err := New(Config{Path: path}, parse).Ask(context.Background()); err != nil || size != MaxSize+1 {
		t.Errorf("%d bytes, error %v", size, err)
	}
}
