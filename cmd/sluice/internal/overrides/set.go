// Package overrides keeps what an operator has set at run time: it holds until it is unset, whatever the configuration
// comes to say. Config management that reloads for another reason must not put a server back that somebody took out.
package overrides

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/configs"
	"sluice/pool"
)

// The keys that can be set of a backend.
const (
	State    = "state"     // one of pool.AdminStates
	Weight   = "weight"    // 0 to pool.MaxWeight
	MaxConns = "max_conns" // 0 = no limit
	Backup   = "backup"    // true or false; only of a backend that was added
	Added    = "added"     // the address of a backend that the configuration does not have
	Removed  = "removed"   // "true": the backend is not used, though the configuration has it
)

// keys are in the order in which they are shown.
var keys = []string{Added, Removed, State, Weight, MaxConns, Backup}

// A Setting is one key of one backend, as an operator has set it.
type Setting struct {
	Pool    string    `json:"pool"`
	Backend string    `json:"backend"`
	Key     string    `json:"key"`
	Value   string    `json:"value"`
	Since   time.Time `json:"since"`
	By      string    `json:"by,omitempty"` // the user of the process that asked, such as "root" or "uid 1000"
}

// Check returns what is wrong with a setting, whatever the configuration says; nil: nothing.
func (s Setting) Check() error {
	switch s.Key {
	case State:
		return new(pool.AdminState).UnmarshalText([]byte(s.Value))
	case Weight:
		return checkNumber(s, pool.MaxWeight)
	case MaxConns:
		return checkNumber(s, maxNumber)
	case Removed:
		if s.Value != "true" {
			return fmt.Errorf("%s=%.64q: want true", s.Key, s.Value)
		}
		return nil
	case Backup:
		if _, err := strconv.ParseBool(s.Value); err != nil {
			return fmt.Errorf("%s=%.64q: want true or false", s.Key, s.Value)
		}
		return nil
	case Added:
		_, err := configs.ParseBackend(s.Value)
		return err
	}
	return fmt.Errorf("unknown key %.64q: want %s, %s or %s", s.Key, State, Weight, MaxConns)
}

const maxNumber = 1<<31 - 1

func checkNumber(s Setting, most int) error {
	n, err := strconv.Atoi(s.Value)
	switch {
	case (err != nil || n < 0 || n > most) && most == maxNumber:
		return fmt.Errorf("%s=%.64q: want a whole number, 0 or more", s.Key, s.Value)
	case err != nil || n < 0 || n > most:
		return fmt.Errorf("%s=%.64q: want a whole number from 0 to %d", s.Key, s.Value, most)
	}
	return nil
}

// number returns the value of a setting that has been checked.
func (s Setting) number() int {
	n, _ := strconv.Atoi(s.Value)
	return n
}

// A Set is all that is set. It does not change: With and Without return another one. The zero Set is empty.
type Set struct {
	all []Setting // by compare
}

// compare orders settings by what they are of.
func compare(a, b Setting) int {
	return cmp.Or(strings.Compare(a.Pool, b.Pool), strings.Compare(a.Backend, b.Backend),
		cmp.Compare(slices.Index(keys, a.Key), slices.Index(keys, b.Key)))
}

// Equal reports whether two sets say the same.
func (s Set) Equal(other Set) bool { return slices.Equal(s.all, other.all) }

// All returns every setting, by pool, backend and key.
func (s Set) All() []Setting { return slices.Clone(s.all) }

// With returns a set that has these settings too, in place of those of the same key.
func (s Set) With(settings ...Setting) Set {
	next := slices.Clone(s.all)
	for _, setting := range settings {
		i, found := slices.BinarySearchFunc(next, setting, compare)
		if found {
			next[i] = setting
		} else {
			next = slices.Insert(next, i, setting)
		}
	}
	return Set{next}
}

// Without returns a set without the settings that gone picks.
func (s Set) Without(gone func(Setting) bool) Set {
	return Set{slices.DeleteFunc(slices.Clone(s.all), gone)}
}

// Get returns one setting, and whether there is one.
func (s Set) Get(pool, backend, key string) (Setting, bool) {
	i, found := slices.BinarySearchFunc(s.all, Setting{Pool: pool, Backend: backend, Key: key}, compare)
	if !found {
		return Setting{}, false
	}
	return s.all[i], true
}
