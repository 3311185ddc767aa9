package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	miekg "github.com/miekg/dns"
)

// A lookup finds out once what there is, by as many questions as that takes. It is for one goroutine.
type lookup struct {
	*resolver
	servers *servers
	before  map[question]bool // what had records at the last answer

	count    atomic.Int64 // of addresses in answers, even those that are there twice
	places   []place
	positive time.Duration     // the least TTL of what was found
	negative time.Duration     // the least time for which it is to be believed that something is not there
	had      map[question]bool // what had records
	failed   []result          // what was not answered
	none     []result          // what is not there, as servers say: err is of which one
	warnings []string
}

// A place is one address that was found.
type place struct {
	at       netip.AddrPort
	priority uint16 // of SRV, as the weight
	weight   uint16
}

// maxAddresses is where an answer is taken for an attack. A message has room for 4,095 addresses, but each of thousands of
// SRV records can lead to as many again, or to the same with another port.
const maxAddresses = 20000

// A result is what one question gave.
type result struct {
	question
	records
	err error
}

func newLookup(r *resolver, s *servers, before map[question]bool) *lookup {
	return &lookup{resolver: r, servers: s, before: before, positive: longest, negative: longest, had: make(map[question]bool)}
}

// ask asks several questions side by side, not too many at a time.
func (l *lookup) ask(ctx context.Context, questions []question) []result {
	results := make([]result, len(questions))
	free := make(chan struct{}, 16)
	var asked sync.WaitGroup
	for i, q := range questions {
		free <- struct{}{}
		asked.Go(func() {
			defer func() { <-free }()
			if l.count.Load() > maxAddresses {
				return
			}
			found, err := l.resolve(ctx, l.servers, q)
			l.count.Add(int64(len(found.addresses)))
			results[i] = result{q, found, err}
		})
	}
	asked.Wait()
	return results
}

// addresses looks for the addresses of the first of the names that has any.
func (l *lookup) addresses(ctx context.Context, names []string, kinds []uint16, port uint16) {
	for _, name := range names {
		var questions []question
		for _, kind := range kinds {
			questions = append(questions, question{name, kind})
		}
		results := l.ask(ctx, questions)
		for _, r := range results {
			for _, a := range r.addresses {
				l.add(name, place{at: netip.AddrPortFrom(a, port)})
			}
		}
		if l.settle(results) {
			return
		}
	}
}

// add takes an address, if a server can have it.
func (l *lookup) add(name string, p place) {
	if a := p.at.Addr(); !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
		l.warn("%s has %v, which is not the address of a server", name, a)
		return
	}
	if len(l.places) <= maxAddresses { // and one more, which tells
		l.places = append(l.places, p)
	}
}

// settle takes note of the results for one name, and reports whether it has records. For a name with addresses of one
// family it does not matter how a server says that there are none of the other. For one that has no records at all it does:
// an answer that is empty and no more comes from servers that have lost a zone, too.
func (l *lookup) settle(results []result) (has bool) {
	has = slices.ContainsFunc(results, func(r result) bool { return r.has() })
	for _, r := range results {
		switch {
		case r.err == nil && r.has():
			l.had[r.question] = true
			l.positive = min(l.positive, r.ttl)
		case r.err == nil && r.none != nil:
			l.negative = min(l.negative, r.ttl)
			r.err = r.none
			l.none = append(l.none, r)
		case r.err == nil && has:
		case r.err == nil:
			r.err = errors.New("no records, and no SOA that says so")
			fallthrough
		default:
			l.failed = append(l.failed, r)
		}
	}
	return has
}

// end returns why there is no answer, if there is none. What was not answered spoils the rest if it had records the last
// time: nobody knows whether they are still there, and an answer without them would take backends away for no reason. If it
// had none then, as when a server does not know AAAA, the rest is the answer, with a warning: else one name that is
// never answered would keep out all others.
func (l *lookup) end() error {
	slices.Sort(l.warnings) // records come in any order
	texts := reasons(l.failed)
	missed := slices.ContainsFunc(l.failed, func(r result) bool { return l.before[r.question] })
	switch {
	case l.count.Load() > maxAddresses, len(l.places) > maxAddresses:
		return fmt.Errorf("more than %d addresses", maxAddresses)
	case missed:
		return errors.New(strings.Join(texts, "; "))
	}
	l.warnings = append(l.warnings, texts...)
	if len(l.places) == 0 && len(l.warnings) > 0 {
		return errors.New(strings.Join(l.warnings, "; "))
	}
	return nil
}

// ttl returns for how long the answer is good.
func (l *lookup) ttl() time.Duration {
	if l.positive != longest {
		return l.positive
	}
	return l.negative
}

// reasons returns why questions have no records, one text for all that have the same reason, and for no more than
// maxWarnings reasons: who answers may make up another one for each of thousands of targets.
func reasons(failed []result) (texts []string) {
	type cause struct {
		text         string
		types, names []string
	}
	var causes []*cause
	more := 0
	for _, r := range failed {
		text := r.err.Error()
		i := slices.IndexFunc(causes, func(c *cause) bool { return c.text == text })
		if i < 0 && len(causes) == maxWarnings {
			more++
			continue
		}
		if i < 0 {
			i = len(causes)
			causes = append(causes, &cause{text: text})
		}
		c := causes[i]
		c.types, c.names = once(c.types, miekg.TypeToString[r.kind]), once(c.names, r.name)
	}
	for _, c := range causes {
		if more := len(c.names) - 3; more > 1 {
			c.names = append(c.names[:3], fmt.Sprintf("%d more", more))
		}
		texts = append(texts, fmt.Sprintf("look up %s of %s: %s", strings.Join(c.types, ", "), strings.Join(c.names, ", "), c.text))
	}
	if more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more questions for other reasons", more))
	}
	return texts
}

// once adds to a list what is not in it.
func once(list []string, text string) []string {
	if slices.Contains(list, text) {
		return list
	}
	return append(list, text)
}

// maxWarnings is how many things are said to be wrong: nobody reads more.
const maxWarnings = 20

func (l *lookup) warn(format string, arguments ...any) {
	if len(l.warnings) == maxWarnings {
		return
	}
	l.warnings = once(l.warnings, fmt.Sprintf(format, arguments...))
}
