// Package statefile keeps what is to outlive the process: what an operator has set, which timelines were seen, and what
// sources have found.
package statefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"sluice/cmd/sluice/internal/overrides"
	"sluice/pool/discovery"
)

// version is that of the format. A file of another one is not read.
const version = 1

// maxSize is far beyond the overrides of ten thousand backends.
const maxSize = 64 << 20

// State is what the file holds.
type State struct {
	Version   int                 `json:"version"`
	Written   time.Time           `json:"written"`
	Overrides []overrides.Setting `json:"overrides"`
	Timelines json.RawMessage     `json:"timelines,omitempty"` // of health.Monitor
	Answers   []discovery.Saved   `json:"answers,omitempty"`   // of discovery.Watch
	Vanished  []Vanished          `json:"vanished,omitempty"`
}

// Vanished is a backend that no source of its pool has any more.
type Vanished struct {
	Pool string `json:"pool"`
	discovery.SavedMember
}

// Load reads the file. One that is not there is an empty State. One that cannot be understood is put aside, under its name
// and the time, and the error says so: what it holds is lost to the program, and not to people.
func Load(path string) (State, error) {
	data, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, nil
	}
	if err != nil {
		return State{}, fmt.Errorf("read state: %w", err)
	}
	s, err := parse(data)
	if err == nil {
		return s, nil
	}
	aside := path + ".broken-" + time.Now().UTC().Format("20060102T150405.000000Z")
	if moved := os.Rename(path, aside); moved != nil {
		return State{}, fmt.Errorf("read state %s: %w; it cannot be put aside: %w", path, err, moved)
	}
	return State{}, fmt.Errorf("read state %s: %w; it was put aside as %s", path, err, aside)
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSize+1))
}

// parse refuses what it does not know: half of what an operator has set is worse than none of it.
func parse(data []byte) (State, error) {
	if len(data) > maxSize {
		return State{}, fmt.Errorf("it is larger than %d bytes", maxSize)
	}
	var s State
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return State{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return State{}, errors.New("there is more after the end")
	}
	if s.Version != version {
		return State{}, fmt.Errorf("it has version %d, this sluice reads %d", s.Version, version)
	}
	for _, o := range s.Overrides {
		if err := o.Check(); err != nil {
			return State{}, fmt.Errorf("override of %s/%s: %w", o.Pool, o.Backend, err)
		}
	}
	return s, nil
}

// Save writes the file anew: whatever happens meanwhile, there is the old one or the new one. It takes as long as the disk
// does.
func Save(path string, s State) (err error) {
	s.Version, s.Written = version, time.Now()
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(append(data, '\n'))
	if err == nil {
		err = f.Sync() // before the rename: a crash must not leave an empty file under the name
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes a rename last.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}
