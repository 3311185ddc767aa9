package configs

import (
	"net/netip"
	"os"
	"slices"

	"sluice/pool"
)

// checkPurpose warns of what is not wrong, and yet hardly meant.
func (d *decoder) checkPurpose(file *File) {
	used := make(map[string]bool)
	for _, r := range d.poolRefs {
		used[r.name] = true
	}
	for i, c := range d.checks {
		p := &file.Pools[c.index].Config
		if !used[p.Name] {
			d.warn(d.poolAt[i], "no listener and no route uses pool %s", quote(p.Name))
		}
		found := slices.ContainsFunc(file.Pools[c.index].Entries, func(e Entry) bool { return e.mayTakeSessions() })
		if !found && !takesSessions(p.Backends) {
			d.warn(d.poolAt[i], "no backend of pool %s takes sessions: all have the weight 0, or are in drain or maint", quote(p.Name))
		}
	}
}

func takesSessions(backends []pool.BackendConfig) bool {
	for _, b := range backends {
		if b.Weight > 0 && b.State == pool.Ready {
			return true
		}
	}
	return false
}

// checkCancels warns of networks that are let in and kept out.
func (l *listenerDraft) checkCancels(d *decoder) {
	v, ok := l.has("allow")
	if !ok {
		return
	}
	denied := make(map[netip.Prefix]bool, len(l.Deny.List))
	for _, network := range l.Deny.List {
		denied[network] = true
	}
	for _, network := range l.Allow.List {
		if by, ok := covering(denied, network); ok {
			d.warn(d.place(v.node), "allow has %v, which deny keeps out with %v: deny wins", network, by)
		}
	}
}

// covering returns the largest of the networks that has all of another.
func covering(networks map[netip.Prefix]bool, one netip.Prefix) (netip.Prefix, bool) {
	for bits := 0; bits <= one.Bits(); bits++ {
		if wide, err := one.Addr().Prefix(bits); err == nil && networks[wide] {
			return wide, true
		}
	}
	return netip.Prefix{}, false
}

// checkSecret warns of a file that everybody may read.
func (d *decoder) checkSecret(v value, path string) {
	if d.offline {
		return
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o004 != 0 {
		d.warn(d.place(v.node), "every user of this machine may read %s: chmod o-r", quote(path))
	}
}
