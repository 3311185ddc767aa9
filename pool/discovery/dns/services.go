package dns

import (
	"context"
	"net/netip"
	"slices"

	miekg "github.com/miekg/dns"
)

// services looks for the servers that are listed by the first of the names that has SRV records: RFC 2782. A port that is
// given stands for those of the records.
func (l *lookup) services(ctx context.Context, names []string, port uint16) {
	for _, name := range names {
		results := l.ask(ctx, []question{{name, miekg.TypeSRV}})
		if l.settle(results) {
			l.takeServers(ctx, name, results[0].records, port)
			return
		}
	}
}

// takeServers finds the addresses of the servers. A server "." says that there is none.
func (l *lookup) takeServers(ctx context.Context, name string, found records, port uint16) {
	targets := l.targets(ctx, found)
	for _, server := range found.servers {
		target := miekg.CanonicalName(server.Target)
		at := server.Port
		if port != 0 {
			at = port
		}
		if at == 0 && target != "." {
			l.warn("%s has %s without a port", name, target)
			continue
		}
		for _, r := range targets[target] {
			for _, a := range r.addresses {
				l.add(target, place{netip.AddrPortFrom(a, at), server.Priority, server.Weight})
			}
		}
	}
}

// targets returns what is known of the servers' names.
func (l *lookup) targets(ctx context.Context, found records) map[string][]result {
	var names []string
	for _, server := range found.servers {
		if target := miekg.CanonicalName(server.Target); target != "." {
			names = append(names, target)
		}
	}
	// Servers shuffle their answers. What is wrong is to be said in the same words each time.
	slices.Sort(names)
	names = slices.Compact(names)
	targets := make(map[string][]result)
	var unknown []question
	for _, target := range names {
		known, questions := l.along(found.extra, target)
		targets[target] = known
		unknown = append(unknown, questions...)
	}
	for _, r := range l.ask(ctx, unknown) {
		targets[r.name] = append(targets[r.name], r)
	}
	for _, target := range names {
		if !l.settle(targets[target]) && !slices.ContainsFunc(targets[target], func(r result) bool { return r.err != nil }) {
			l.warn("%s has no address", target)
		}
	}
	return targets
}

// along returns the addresses of a server that came along with its name, and what is to be asked besides. A message may
// leave out what it has no room for, even one family of a name (RFC 2181, section 9), so what was there the last time is
// asked for. Where nothing came along everything is.
func (l *lookup) along(extra section, target string) (known []result, questions []question) {
	for _, kind := range []uint16{miekg.TypeA, miekg.TypeAAAA} {
		q := question{target, kind}
		if found, err := follow(extra, q); err == nil && found.has() {
			known = append(known, result{question: q, records: found})
		} else {
			questions = append(questions, q)
		}
	}
	if len(known) > 0 {
		questions = slices.DeleteFunc(questions, func(q question) bool { return !l.before[q] })
	}
	return known, questions
}
