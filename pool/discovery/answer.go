package discovery

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sluice/pool"
)

// An Answer is what a source has said. The zero Answer: it never has. Its slices are in the order of Found.compare, have
// nothing twice, and do not change.
type Answer struct {
	Latest     []Found
	Kept       []Found   // the last one that was not empty
	Generation uint64    // how often Latest has changed; 0 = there is no answer
	At         time.Time // when the source has said so last
	Restored   bool      // it is of before: of another process, or of other options of the source
}

// Answered reports whether there is an answer.
func (a Answer) Answered() bool { return a.Generation > 0 }

// Set returns the backends that count: the latest, or where there is none in it, and keep is set, those that there were.
func (a Answer) Set(keep bool) []Found {
	if keep && len(a.Latest) == 0 {
		return a.Kept
	}
	return a.Latest
}

// follow returns the answer that comes after a, and whether the set is another one.
func (a Answer) follow(set []Found, at time.Time) (next Answer, changed bool) {
	changed = !a.Answered() || !slices.EqualFunc(a.Latest, set, func(x, y Found) bool { return x.compare(&y) == 0 })
	a.At, a.Restored = at, false
	if changed {
		a.Latest = set
		a.Generation++
		if len(set) > 0 {
			a.Kept = set
		}
	}
	return a, changed
}

// tidy returns what a source has found as an Answer has it, and what is wrong with those that cannot be backends. It does
// not depend on the order of found, which it does not change.
func tidy(found []Found) (set []Found, warnings []string) {
	set = make([]Found, 0, len(found))
	for _, f := range found {
		if at := f.Address.TCP; at.Addr().Is4In6() {
			f.Address.TCP = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
		}
		if err := f.check(); err != nil {
			warnings = append(warnings, fmt.Sprintf("backend %s: %v", f.text(), err))
			continue
		}
		set = append(set, f)
	}
	slices.Sort(warnings)
	slices.SortFunc(set, func(a, b Found) int { return a.compare(&b) })
	return slices.CompactFunc(set, func(a, b Found) bool { return a.same(&b) }), warnings
}

// text returns the backend's address as it is written.
func (f *Found) text() string { return f.Address.WithHost(f.Host) }

// check returns what is wrong with a backend: a pool refuses an update as a whole, so that one would hold up all others.
func (f *Found) check() error {
	at := f.Address
	switch {
	case at.IsUnix() && f.Host != "":
		return errors.New("has a host and the path of a socket")
	case !at.IsUnix() && at.TCP.Port() == 0:
		return errors.New("has no port")
	case !at.IsUnix() && !at.TCP.Addr().IsValid() && f.Host == "":
		return errors.New("has no host")
	}
	return f.Settings.check()
}

// check returns what is wrong with settings; nil of them are right.
func (s *Settings) check() error {
	switch {
	case s == nil:
		return nil
	case s.Weight != nil && (*s.Weight < 0 || *s.Weight > pool.MaxWeight):
		return fmt.Errorf("weight %d: want 0 to %d", *s.Weight, pool.MaxWeight)
	case s.MaxConns != nil && *s.MaxConns < 0:
		return fmt.Errorf("max_conns %d: want 0 (no limit) or more", *s.MaxConns)
	case s.State != nil && int(*s.State) >= len(pool.AdminStates()):
		return fmt.Errorf("unknown state %v", *s.State)
	}
	return nil
}

// same reports whether two are one backend for the source, whatever their settings.
func (f *Found) same(other *Found) bool {
	return f.Address == other.Address && f.Name == other.Name && f.Host == other.Host
}

// compare orders by address, then by whatever else there is: of two that are the same with other settings the first counts,
// whichever the source has said first. 0 = there is no difference.
func (f *Found) compare(other *Found) int {
	if c := compareAddresses(&f.Address, &other.Address); c != 0 {
		return c
	}
	return cmp.Or(strings.Compare(f.Name, other.Name), strings.Compare(f.Host, other.Host),
		comparePointers(f.Weight, other.Weight, cmp.Compare), comparePointers(f.MaxConns, other.MaxConns, cmp.Compare),
		comparePointers(f.Backup, other.Backup, compareBools), comparePointers(f.State, other.State, cmp.Compare))
}

// compareAddresses orders by IP and port; Unix sockets, by their paths, stand before those.
func compareAddresses(a, b *pool.Address) int {
	if c := a.TCP.Compare(b.TCP); c != 0 {
		return c
	}
	return strings.Compare(a.Unix, b.Unix)
}

// comparePointers orders nil before everything else.
func comparePointers[T any](a, b *T, compare func(T, T) int) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	return compare(*a, *b)
}

// compareBools orders false before true.
func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// backup reports whether a backend is one, where its template says so or the source.
func (s *Settings) backup(template *pool.BackendConfig) bool {
	if s.Backup != nil {
		return *s.Backup
	}
	return template.Backup
}

// Apply returns what a backend's template becomes with what the source says.
func (s *Settings) Apply(c pool.BackendConfig) pool.BackendConfig {
	if s.Weight != nil {
		c.Weight = *s.Weight
	}
	if s.MaxConns != nil {
		c.MaxConns = *s.MaxConns
	}
	if s.Backup != nil {
		c.Backup = *s.Backup
	}
	if s.State != nil {
		c.State = *s.State
	}
	return c
}
