package configs

import (
	"fmt"
	"net/netip"

	"sluice/pool"
)

// A place is where a problem is reported: in a file, or at a flag.
type place struct {
	file         string
	line, column int
	source       string
}

// findings collects what is wrong, and what can be checked only when everything has been read.
type findings struct {
	problems Problems
	hosts    []hostName
	binds    []bindSite
}

func (f *findings) report(at place, format string, args ...any) {
	f.problems = append(f.problems, Problem{
		File: at.file, Line: at.line, Column: at.column, Source: at.source, Message: fmt.Sprintf(format, args...),
	})
}

// address parses text by rules into to. A host name is noted, and to is filled in by resolve.
func (f *findings) address(at place, text string, rules addressRules, to *pool.Address) {
	a, host, err := parseAddress(text, rules)
	if err != nil {
		f.report(at, "%v", err)
		return
	}
	*to = a
	if host != "" {
		f.hosts = append(f.hosts, hostName{at: at, host: host, to: to})
	}
}

// A bindSite is one address that something will listen on.
type bindSite struct {
	at      place
	owner   string
	address *pool.Address // set by the time of checkBinds; zero if there was a problem
}

// checkBinds reports every address that cannot be bound because an earlier one takes it.
func (f *findings) checkBinds() {
	for i, b := range f.binds {
		for _, a := range f.binds[:i] {
			if overlap(*a.address, *b.address) {
				f.report(b.at, "%s: taken by %s%s: use another address or port", bindText(*b.address), a.owner, onLine(a.at))
				break
			}
		}
	}
}

func onLine(p place) string {
	if p.line == 0 {
		return ""
	}
	return fmt.Sprintf(" on line %d", p.line)
}

// overlap reports whether the kernel would refuse to bind both addresses. Port 0 is a new port each time. 0.0.0.0 and
// [::] stand for one family each and can be bound side by side; an address without IP stands for both.
func overlap(a, b pool.Address) bool {
	if a.IsUnix() || b.IsUnix() {
		return a.Unix == b.Unix
	}
	if a.TCP.Port() == 0 || a.TCP.Port() != b.TCP.Port() {
		return false
	}
	x, y := a.TCP.Addr(), b.TCP.Addr()
	return x == y || covers(x, y) || covers(y, x)
}

func covers(wide, narrow netip.Addr) bool {
	return !wide.IsValid() || wide.IsUnspecified() && wide.BitLen() == narrow.BitLen()
}

func bindText(a pool.Address) string {
	if !a.IsUnix() && !a.TCP.Addr().IsValid() {
		return fmt.Sprintf(":%d", a.TCP.Port())
	}
	return a.String()
}
