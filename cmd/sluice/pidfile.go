package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// A pidFile is the path of a file that names the process that serves; "" = there is none.
type pidFile string

// write names this process, in place of the one before if there was one. Who reads the file finds the old one or the new
// one, whole.
func (p pidFile) write() (err error) {
	if p == "" {
		return nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write pid file: %w", err)
		}
	}()
	f, err := os.CreateTemp(filepath.Dir(string(p)), filepath.Base(string(p))+".new-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(strconv.Itoa(os.Getpid()) + "\n")
	// Anybody may know it: the file is there for others.
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), string(p))
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// remove removes the file if it still names this process: a successor may have put its own in place.
func (p pidFile) remove() error {
	if p == "" {
		return nil
	}
	text, err := os.ReadFile(string(p))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && string(bytes.TrimSpace(text)) == strconv.Itoa(os.Getpid()) {
		err = os.Remove(string(p))
	}
	if err != nil {
		return fmt.Errorf("remove pid file: %w", err)
	}
	return nil
}
