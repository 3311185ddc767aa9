package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sluice/sysutil/systest"
)

// A foundRig is a sluice whose backends are places that sources find, and sessions that stay.
type foundRig struct {
	*rig
	places *places
	pools  []string // each has a listener of its name
	stay   []*caller
}

// startFound runs sluice with a configuration that has a listener for each pool.
func startFound(t *testing.T, p *places, config string, pools ...string) *foundRig {
	t.Helper()
	f := &foundRig{rig: startSluice(t, config), places: p, pools: pools}
	f.changing = true
	return f
}

// listenersOf returns the listeners of pools.
func listenersOf(pools ...string) string {
	text := "listeners:\n"
	for _, pool := range pools {
		text += fmt.Sprintf("  %s: {bind: \"127.0.0.1:0\", pool: %[1]s}\n", pool)
	}
	return text
}

// addressesOf returns where the listeners of pools listen.
func (f *foundRig) addressesOf(pools ...string) map[string]string {
	f.t.Helper()
	all := make(map[string]string)
	for _, pool := range pools {
		all[pool] = f.address(pool)
	}
	return all
}

// found describes the backends of a pool by the numbers of their places: 3~ has vanished, 3! takes no sessions for another
// reason.
func (s status) found(pool string) string {
	var all []string
	for _, p := range s.Pools {
		if p.Name != pool {
			continue
		}
		for _, b := range p.Backends {
			text := placeOf(b.Address)
			switch {
			case b.Vanished:
				text += "~"
			case !b.Usable:
				text += "!"
			}
			all = append(all, text)
		}
	}
	return strings.Join(all, " ")
}

// placeOf returns the number of a place as text.
func placeOf(address string) string {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !at.Addr().Is4() {
		return address
	}
	return fmt.Sprint(at.Addr().As4()[3])
}

// until waits until pools have these backends.
func (f *foundRig) until(what, want string, pools ...string) {
	f.t.Helper()
	for _, pool := range pools {
		until(f.t, fmt.Sprintf("%s: pool %s has %s", what, pool, want), func() error {
			if got := f.answer().found(pool); got != want {
				return fmt.Errorf("it has %s", got)
			}
			return nil
		})
	}
}

// settle opens sessions that stay, until at least one of the pool is at each of these places.
func (f *foundRig) settle(pool string, numbers ...int) {
	f.t.Helper()
	address := f.address(pool)
	missing := slices.Clone(numbers)
	until(f.t, "sessions are at every place", func() error {
		g, err := visitPlace(address, pool)
		if err != nil {
			f.t.Fatal(err)
		}
		f.stay = append(f.stay, g)
		f.t.Cleanup(func() { g.Close() })
		if missing = slices.DeleteFunc(missing, func(n int) bool { return n == g.place }); len(missing) > 0 {
			return fmt.Errorf("none is at %v", missing)
		}
		return nil
	})
}

// askStaying checks that the sessions that stay are where they were.
func (f *foundRig) askStaying() {
	f.t.Helper()
	for _, g := range f.stay {
		if err := g.ask(); err != nil {
			f.t.Fatalf("a session of pool %s at place %d: %v", g.pool, g.place, err)
		}
	}
}

// leave takes sessions out that are not to stay.
func (f *foundRig) leave(which func(g *caller) bool) (gone []*caller) {
	f.stay = slices.DeleteFunc(f.stay, func(g *caller) bool {
		if which(g) {
			gone = append(gone, g)
			return true
		}
		return false
	})
	return gone
}

// expectExact checks that there are the sessions that stay and no others, by what the servers, sluice and the kernel count.
// A backend that was removed is not in sluice's list any more.
func (f *foundRig) expectExact() {
	t := f.t
	t.Helper()
	byPool, byPlace := make(map[string]map[string]int), make(map[int]int)
	for _, g := range f.stay {
		if byPool[g.pool] == nil {
			byPool[g.pool] = make(map[string]int)
		}
		byPool[g.pool][fmt.Sprint(g.place)]++
		byPlace[g.place]++
	}
	until(t, "sessions are counted exactly", func() error {
		s, all := f.answer(), 0
		for n, open := range f.places.opens() {
			if all += open; open != byPlace[n] {
				return fmt.Errorf("place %d has %d sessions, want %d", n, open, byPlace[n])
			}
		}
		if all != len(f.stay) || s.sessions() != all {
			return fmt.Errorf("places have %d sessions, sluice says %d, want %d", all, s.sessions(), len(f.stay))
		}
		if n := f.connections(); n != all { // checks come and go
			return fmt.Errorf("the kernel has %d connections, want %d", n, all)
		}
		return s.countedAs(byPool)
	})
}

// countedAs compares the sessions at backends with those by pool and place.
func (s status) countedAs(want map[string]map[string]int) error {
	for _, p := range s.Pools {
		for _, b := range p.Backends {
			if b.Active != want[p.Name][placeOf(b.Address)] {
				return fmt.Errorf("backend %s/%s has %d active, want %d", p.Name, b.Name, b.Active, want[p.Name][placeOf(b.Address)])
			}
			for reason, n := range b.ConnectFailures {
				if n != 0 {
					return fmt.Errorf("%d connects to %s/%s have failed: %s", n, p.Name, b.Name, reason)
				}
			}
		}
	}
	return nil
}

// connections counts what the kernel has of connections from sluice to places.
func (f *foundRig) connections() (n int) {
	f.t.Helper()
	held := systest.Held(f.t, f.answer().PID)
	for _, s := range systest.Sockets(f.t, f.places.port) {
		if s.Far == f.places.port && s.State == systest.Established && held[s.Inode] {
			n++
		}
	}
	return n
}
