package configs

import (
	"fmt"
	"net/netip"

	"sluice/pool"
)

// A bindSite is one address that something will listen on.
type bindSite struct {
	at       place
	owner    string
	address  *pool.Address // set by the time of checkBinds; zero if there was a problem
	sessions bool          // it is a listener's
}

// checkBinds reports every address that cannot be bound because an earlier one takes it.
func (f *findings) checkBinds() {
	taken := make(bindIndex)
	for i, b := range f.binds {
		if first, ok := taken.add(i, *b.address); ok {
			a := f.binds[first]
			f.report(b.at, "%s: taken by %s%s: use another address or port", bindText(*b.address), a.owner, onLine(a.at, b.at))
		}
	}
}

func onLine(p, at place) string {
	if p.line == 0 {
		return ""
	}
	return " " + where(p, at)
}

// A bindIndex has the number of the first site by what it takes.
type bindIndex map[bindKey]int

// A bindKey is an address that is taken, or any address of a family.
type bindKey struct {
	unix string
	port uint16
	ip   netip.Addr // of any: 0.0.0.0, [::], or none for both families
	any  bool
}

// add adds a site, and returns the first before it without which the kernel would bind it. Port 0 is a new port each
// time. 0.0.0.0 and [::] stand for one family each and can be bound side by side; an address without IP stands for both.
func (x bindIndex) add(number int, a pool.Address) (first int, taken bool) {
	port, ip := a.TCP.Port(), a.TCP.Addr()
	if a.IsUnix() {
		key := bindKey{unix: a.Unix}
		return x.first(number, []bindKey{key}, []bindKey{key})
	}
	if port == 0 {
		return 0, false
	}
	own, family, every := bindKey{port: port, ip: ip}, bindKey{port: port, ip: unspecified(ip), any: true}, bindKey{port: port, any: true}
	wide := bindKey{port: port, ip: unspecified(ip)}
	switch {
	case !ip.IsValid():
		return x.first(number, []bindKey{every}, []bindKey{own, every})
	case ip.IsUnspecified():
		return x.first(number, []bindKey{family, {port: port}}, []bindKey{own, family, every})
	}
	return x.first(number, []bindKey{own, wide, {port: port}}, []bindKey{own, family, every})
}

// first returns the lowest number under the keys to look at, and lists this one where none is yet.
func (x bindIndex) first(number int, look, list []bindKey) (first int, taken bool) {
	first = number
	for _, key := range look {
		if n, ok := x[key]; ok {
			first = min(first, n)
		}
	}
	for _, key := range list {
		if _, ok := x[key]; !ok {
			x[key] = number
		}
	}
	return first, first < number
}

func unspecified(ip netip.Addr) netip.Addr {
	if ip.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func bindText(a pool.Address) string {
	if !a.IsUnix() && !a.TCP.Addr().IsValid() {
		return fmt.Sprintf(":%d", a.TCP.Port())
	}
	return a.String()
}
