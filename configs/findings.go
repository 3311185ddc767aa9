package configs

import (
	"fmt"
	"slices"

	"sluice/pool"
)

// findings collects what is wrong, and what can be checked only when everything has been read.
type findings struct {
	problems Problems // the first maxProblems of them; of the others only how many there are
	repeated int      // problems that say of a place what was said of it before
	shown    shownLine
	order    []string // of the files
	hosts    []hostName
	binds    []bindSite
	backends []backendSite
	warnings Problems // what is not wrong, and yet hardly meant; maxProblems of them
	offline  bool     // no name is looked up, and what other files hold is not looked at
}

// warn adds a warning.
func (f *findings) warn(at place, format string, args ...any) {
	if len(f.warnings) < maxProblems {
		f.warnings = append(f.warnings, at.problem(fmt.Sprintf(format, args...), &f.shown))
	}
}

// maxProblems is how many problems are kept. The others are counted.
const maxProblems = 100

// report adds a problem. What an alias stands for is read once for each alias, and may have the same problem each time.
func (f *findings) report(at place, format string, args ...any) {
	if len(f.problems)-f.repeated >= maxProblems {
		f.problems = append(f.problems, Problem{})
		return
	}
	p := at.problem(fmt.Sprintf(format, args...), &f.shown)
	if slices.Contains(f.problems, p) {
		f.repeated++
		p = Problem{}
	}
	f.problems = append(f.problems, p)
}

// result returns the problems as they are shown: in the order of the files, the last one says how many there are more.
func (f *findings) result() Problems {
	shown := slices.DeleteFunc(slices.Clone(f.problems), func(p Problem) bool { return p.Message == "" })
	shown.sort(f.order)
	if more := len(f.problems) - f.repeated - len(shown); more > 0 {
		shown = append(shown, Problem{
			File: shown[len(shown)-1].File, Message: fmt.Sprintf("%d more problems are not shown: correct these first", more),
		})
	}
	return shown
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

// backendAddress is address for a backend. A host name is returned: to has the port alone then.
func (f *findings) backendAddress(at place, text string, to *pool.Address) (host string) {
	a, host, err := parseAddress(text, addressRules{})
	if err != nil {
		f.report(at, "%v", err)
		return ""
	}
	if *to = a; host == "" {
		f.backends = append(f.backends, backendSite{at, to})
	}
	return host
}
