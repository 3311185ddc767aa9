package dns

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// servers is who is asked, and how.
type servers struct {
	list     []netip.AddrPort // in this order
	timeout  time.Duration    // of each
	attempts int              // how often one is asked that sends nothing
	rotate   bool             // each question begins with the next one
	tcp      bool             // never by UDP
}

// shunned is how long a server that has not answered comes after all others: nobody is to wait for it each time.
const shunned = 30 * time.Second

// A resolver asks servers. It is safe for concurrent use.
type resolver struct {
	mu   sync.Mutex
	late map[netip.AddrPort]time.Time // when one has not answered last
	turn int                          // of rotate
}

// resolve finds the records of a question, and asks on where an answer ends with another name.
func (r *resolver) resolve(ctx context.Context, s *servers, q question) (records, error) {
	found, err := r.ask(ctx, s, q)
	for hops := 0; err == nil && found.alias != ""; hops++ {
		if hops == maxAliases {
			return records{}, errAliases
		}
		ttl, alias := found.ttl, found.alias
		if found, err = r.ask(ctx, s, question{alias, q.kind}); err != nil {
			return records{}, fmt.Errorf("its alias %s: %w", alias, err)
		}
		found.ttl = min(ttl, found.ttl)
		if found.none != nil {
			found.none = fmt.Errorf("its alias %s: %w", alias, found.none)
		}
	}
	return found, err
}

// ask asks the servers one after the other until one has an answer.
func (r *resolver) ask(ctx context.Context, s *servers, q question) (records, error) {
	failed := make(failures)
	order := r.order(s)
	for range s.attempts {
		for _, server := range order {
			if before := failed[server]; before != nil && !errors.Is(before, errLate) {
				continue // it would say the same again
			}
			found, err := query(ctx, s, server, q)
			if err != nil && ctx.Err() != nil {
				failed[server] = errLate
				return records{}, failed.of(s)
			}
			r.note(server, errors.Is(err, errLate))
			if err == nil {
				if found.none != nil {
					found.none = fmt.Errorf("ask %v: %w", server, found.none)
				}
				return found, nil
			}
			failed[server] = err
		}
	}
	return records{}, failed.of(s)
}

var errNobody = errors.New("no server to ask")

// failures is why each server had no answer.
type failures map[netip.AddrPort]error

// of returns all in the order in which the servers are listed, which is the same each time.
func (f failures) of(s *servers) error {
	var all []string
	for _, server := range s.list {
		if err := f[server]; err != nil {
			all = append(all, fmt.Sprintf("ask %v: %v", server, err))
		}
	}
	if all == nil {
		return errNobody
	}
	return errors.New(strings.Join(all, "; "))
}

// order returns the servers as they are asked now.
func (r *resolver) order(s *servers) []netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := 0
	if s.rotate && len(s.list) > 0 {
		first = r.turn % len(s.list)
		r.turn++
	}
	maps.DeleteFunc(r.late, func(_ netip.AddrPort, at time.Time) bool { return time.Since(at) >= shunned })
	var order, last []netip.AddrPort
	for i := range s.list {
		server := s.list[(first+i)%len(s.list)]
		if _, late := r.late[server]; late {
			last = append(last, server)
		} else {
			order = append(order, server)
		}
	}
	return append(order, last...)
}

// note keeps in mind whether a server has answered.
func (r *resolver) note(server netip.AddrPort, late bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !late {
		delete(r.late, server)
		return
	}
	if r.late == nil {
		r.late = make(map[netip.AddrPort]time.Time)
	}
	r.late[server] = time.Now()
}
