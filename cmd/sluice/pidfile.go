package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// A pidFile is a file that names the process that serves.
type pidFile struct {
	path  string      // "" = there is none
	wrote os.FileInfo // the file that this process has put there; nil: none
}

// write names this process, in place of the one before if there was one. Who reads the file finds the old one or the new
// one, whole.
func (p *pidFile) write() (err error) {
	if p.path == "" {
		return nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write pid file: %w", err)
		}
	}()
	f, err := os.CreateTemp(filepath.Dir(p.path), filepath.Base(p.path)+".new-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(strconv.Itoa(os.Getpid()) + "\n")
	// Anybody may know it: the file is there for others.
	err = errors.Join(err, f.Chmod(0o644))
	wrote, unknown := f.Stat()
	if err = errors.Join(err, unknown, f.Close()); err == nil {
		err = os.Rename(f.Name(), p.path) // a link is replaced, not followed
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	p.wrote = wrote
	return nil
}

// remove removes the file if it is still the one of this process: a successor may have put its own in place. The number in
// it does not tell, for each of two containers has a process 1.
func (p *pidFile) remove() error {
	if p.wrote == nil {
		return nil
	}
	there, err := os.Lstat(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && os.SameFile(there, p.wrote) && there.ModTime().Equal(p.wrote.ModTime()) { // numbers of files are used again
		err = os.Remove(p.path)
	}
	if err != nil {
		return fmt.Errorf("remove pid file: %w", err)
	}
	return nil
}
