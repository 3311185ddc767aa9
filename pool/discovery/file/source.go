package file

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/fsnotify/fsnotify"

	"sluice/pool/discovery"
)

// ParseFunc makes backends of what is in a file, of which it gets at most MaxSize and one byte. path stands for the file in
// its errors.
type ParseFunc func(path string, data []byte) ([]discovery.Found, error)

// New returns the source that a configuration describes.
func New(config Config, parse ParseFunc) discovery.Source {
	return &source{Config: config, parse: parse, pauses: usualPauses, begin: fsnotify.NewWatcher}
}

type source struct {
	Config
	parse  ParseFunc
	pauses pauses
	begin  func() (*fsnotify.Watcher, error)
}

// Ask reads the file.
func (s *source) Ask(ctx context.Context) ([]discovery.Found, error) {
	data, _, err := read(s.Path)
	if err != nil {
		return nil, err
	}
	return s.parse(s.Path, data)
}

// Run reads the file, and again whenever it may have changed.
func (s *source) Run(ctx context.Context, report func(discovery.Report)) {
	w := watch{path: s.Path, pauses: s.pauses, begin: s.begin}
	defer w.close()
	var last *look
	for ctx.Err() == nil {
		w.follow() // before it is read: what changes from now on is told
		now := lookAt(s.Path)
		if last == nil || !now.same(last) {
			report(s.reportOf(now))
		}
		now.data, last = nil, now
		for w.wait(ctx) == silence && !last.passed(s.Path) {
		}
	}
}

// A look is what was seen of the file at one time.
type look struct {
	data []byte // until it has been parsed
	sum  [sha256.Size]byte
	info fs.FileInfo
	err  error // why it could not be read
}

func lookAt(path string) *look {
	data, info, err := read(path)
	return &look{data: data, sum: sha256.Sum256(data), info: info, err: err}
}

// same reports whether two looks saw the same thing.
func (l *look) same(before *look) bool {
	if l.err != nil || before.err != nil {
		return l.err != nil && before.err != nil && l.err.Error() == before.err.Error()
	}
	return l.sum == before.sum
}

// passed reports whether the file may be another than the look has seen, by its time and its size.
func (l *look) passed(path string) bool {
	if l.err != nil { // only another try can tell
		return true
	}
	info, err := os.Stat(path)
	return err != nil || !os.SameFile(info, l.info) || info.Size() != l.info.Size() || !info.ModTime().Equal(l.info.ModTime())
}

// reportOf parses what a look saw.
func (s *source) reportOf(l *look) discovery.Report {
	if l.err != nil {
		return discovery.Report{Err: l.err}
	}
	found, err := s.parse(s.Path, l.data)
	return discovery.Report{Found: found, Err: err}
}

// read returns what is in a file, and the file as it was before that.
func read(path string) ([]byte, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // nobody waits for who writes into a pipe
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", path, cause(err))
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("read %s: %w", path, cause(err))
	case info.IsDir():
		return nil, nil, fmt.Errorf("read %s: it is a folder: name a file in it", path)
	case !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("read %s: it is no file: its type is %v", path, info.Mode().Type())
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", path, cause(err))
	}
	return data, info, nil
}

// cause is an error without the path, which is said already.
func cause(err error) error {
	var of *fs.PathError
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}
