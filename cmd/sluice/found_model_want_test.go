package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/pool"
)

// follow works out what a pool has now, which goes by what it has had.
func (p *foundPlay) follow(of *foundPool, now time.Time) {
	before, claimed := of.members, map[string]bool{of.static: true}
	of.members = make(map[string]map[string]foundMember)
	each := func(do func(e *foundEntry, key string)) {
		for i := range of.entries {
			if e := &of.entries[i]; !e.off && (e.title == "" || of.set[e.title] != "removed") {
				do(e, e.source+" "+e.title)
			}
		}
	}
	each(func(e *foundEntry, key string) {
		of.members[key] = make(map[string]foundMember)
		a := p.answer[e.source]
		if a == nil {
			return
		}
		set := a.latest
		if len(set) == 0 && of.keep {
			set = a.kept
		}
		for _, found := range set {
			address, _, _ := strings.Cut(found, ",")
			if claimed[address] {
				p.happened["two sources"]++
				continue
			}
			if was, ok := before[key][address]; ok && !was.since.IsZero() {
				p.happened["came back"]++
			}
			claimed[address] = true
			of.members[key][address] = foundMember{found: found}
		}
	})
	each(func(e *foundEntry, key string) {
		for address, m := range before[key] {
			if claimed[address] {
				continue
			}
			if m.since.IsZero() {
				m.since = now
				p.happened["vanished"]++
			}
			if of.after == 0 || now.Sub(m.since) > of.after+foundSlack { // in between nobody can say
				p.happened["removed"]++
				continue
			}
			claimed[address] = true
			of.members[key][address] = m
		}
	})
}

// backends returns what a pool is to have.
func (of *foundPool) backends() (all []pool.BackendConfig) {
	if of.static != "" {
		c := configOf(of.static, 1)
		all = append(all, of.apply(c, ""))
	}
	for _, e := range of.entries {
		if e.off {
			continue
		}
		var own []pool.BackendConfig
		for address, m := range of.members[e.source+" "+e.title] {
			c := configOf(m.found, of.weight)
			if e.named {
				c.Name = e.title + "/" + address
			}
			c.Vanished = !m.since.IsZero()
			own = append(own, c)
		}
		slices.SortFunc(own, func(a, b pool.BackendConfig) int {
			tier := func(c pool.BackendConfig) int { return strings.Compare(fmt.Sprint(c.Backup), "true") }
			return cmp.Or(cmp.Compare(tier(a), tier(b)), a.Address.TCP.Compare(b.Address.TCP))
		})
		for _, c := range own {
			all = append(all, of.apply(c, e.title))
		}
	}
	return slices.DeleteFunc(all, func(c pool.BackendConfig) bool { return of.set[c.Name] == "removed" })
}

// apply sets what is set of a backend, or else of its entry.
func (of *foundPool) apply(c pool.BackendConfig, entry string) pool.BackendConfig {
	_ = c.State.UnmarshalText([]byte(cmp.Or(of.set[c.Name], of.set[entry], "ready")))
	return c
}

// configOf is the backend of what a source says.
func configOf(found string, weight int) pool.BackendConfig {
	f := foundAt(found)
	c := f.Apply(pool.BackendConfig{Weight: weight})
	c.Name, c.Address = f.Address.String(), f.Address
	return c
}
