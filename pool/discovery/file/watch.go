package file

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A watch is told by the kernel when a file may have changed, wherever on the way to it.
type watch struct {
	path    string
	begin   func() (*fsnotify.Watcher, error)
	watcher *fsnotify.Watcher // nil: the kernel tells nothing
	way     []string          // what can change on the way, each in a folder that is watched
	partly  bool              // some of the folders cannot be watched
	stale   bool              // the way may be another one by now
	other   bool              // the file itself may be, on the same way
	pauses
}

// pauses are what goes by before the file is looked at while the kernel tells nothing.
type pauses struct {
	safety time.Duration // though it would tell
	blind  time.Duration // because it cannot
}

var usualPauses = pauses{safety: 10 * time.Second, blind: time.Second}

// What wait may have waited for.
type awaited int

const (
	ended   awaited = iota // the context is done
	changed                // something on the way
	silence                // nothing, for a while
)

// The file is read when nothing has happened to it for a moment, but once in a while even if it never ends: half a list
// would be a list of half of the backends.
const (
	settlePause = 50 * time.Millisecond
	settleMost  = time.Second
)

// maxWays is how often the way may change while it is put under watch. After that the next look must do.
const maxWays = 5

// follow watches the folders on the way to the file as it is now. While the way stays they are watched as they are: the kernel
// looks at all that it knows of a folder when that is watched anew, which takes long of one that has seen many files.
func (w *watch) follow() {
	if w.watcher != nil && !w.stale && slices.Equal(w.way, wayTo(w.path)) {
		if w.other {
			w.followFile()
		}
		return
	}
	for range maxWays {
		w.close()
		way := wayTo(w.path)
		watcher, err := w.begin()
		if err != nil { // there are 128 for each user (inotify(7), max_user_instances)
			return
		}
		w.watcher, w.way, w.stale, w.partly = watcher, way, false, false
		for _, place := range way {
			if err := watcher.Add(filepath.Dir(place)); err != nil { // it may be entered but not read, or there are too many
				w.partly = true
			}
		}
		w.followFile()
		if slices.Equal(way, wayTo(w.path)) {
			return
		}
	}
}

// followFile watches the file too: of one that is mounted alone into a container, and written outside, its folder there hears
// nothing.
func (w *watch) followFile() {
	if file := w.file(); file != "" {
		_ = w.watcher.Remove(file) // the one before, which the kernel has forgotten if it is gone
		_ = w.watcher.Add(file)    // it need not be there
	}
	w.other = false
}

// file returns the end of the way; "" = there is none.
func (w *watch) file() string {
	if len(w.way) == 0 {
		return ""
	}
	return w.way[len(w.way)-1]
}

func (w *watch) close() {
	if w.watcher != nil {
		_ = w.watcher.Close() // it only ever ends
		w.watcher = nil
	}
}

// wait returns when something has changed on the way and it has settled, or when it is time to look anyhow.
func (w *watch) wait(ctx context.Context) awaited {
	events, errs, pause := w.hears()
	look := time.NewTimer(pause)
	defer look.Stop()
	var settled, enough <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return ended
		case e, ok := <-events:
			if !ok { // the watcher has ended by itself
				events, errs, w.stale = nil, nil, true
			} else if !w.concerns(e) {
				continue
			}
		case <-errs: // events were lost
			w.stale = true
		case <-settled:
			return changed
		case <-enough:
			return changed
		case <-look.C:
			if settled == nil {
				w.stale = true // of what was mounted over a folder nobody tells
				return silence
			}
		}
		settled = time.After(settlePause)
		if enough == nil {
			enough = time.After(settleMost)
		}
	}
}

// hears returns what the kernel tells, and how long to wait for it.
func (w *watch) hears() (events chan fsnotify.Event, errs chan error, pause time.Duration) {
	switch {
	case w.watcher == nil:
		return nil, nil, w.blind
	case w.partly:
		return w.watcher.Events, w.watcher.Errors, w.blind
	}
	return w.watcher.Events, w.watcher.Errors, w.safety
}

// concerns reports whether an event is of something on the way, and notes when that has come, gone or been renamed: its
// watch is of what it was.
func (w *watch) concerns(e fsnotify.Event) bool {
	place := filepath.Clean(e.Name) // what is in / has two slashes
	if !slices.Contains(w.way, place) {
		return false
	}
	if e.Has(fsnotify.Create) || e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) {
		if place == w.file() {
			w.other = true
		} else {
			w.stale = true
		}
	}
	return true
}

// maxLinks is how many symbolic links are followed, as by the kernel: see path_resolution(7).
const maxLinks = 40

// wayTo returns what is on the way to a file and may change: folders, symbolic links, what they lead to and at last the
// file, as far as they are there, and then the first that is not. No path has a symbolic link before its last part.
func wayTo(path string) (way []string) {
	folder, rest, links := "/", strings.Split(path, "/"), 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			folder = filepath.Dir(folder)
			continue
		}
		place := filepath.Join(folder, name)
		way = append(way, place)
		info, err := os.Lstat(place)
		switch {
		case err != nil:
			return way
		case info.Mode().Type() == fs.ModeSymlink:
			target, err := os.Readlink(place)
			if links++; err != nil || links > maxLinks {
				return way
			}
			if filepath.IsAbs(target) {
				folder = "/"
			}
			rest = append(strings.Split(target, "/"), rest...)
		case info.IsDir():
			folder = place
		default:
			return way
		}
	}
	return way
}
