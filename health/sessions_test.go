package health

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"sluice/pool"
)

// sessions stands for the live sessions of all backends, and records what is done to them.
type sessions struct {
	start time.Time
	takes time.Duration // each call of End

	mu    sync.Mutex
	live  map[*pool.Backend]int
	calls map[*pool.Backend][]string
	ended map[Cause]int
}

// Redispatch implements Sessions.
func (s *sessions) Redispatch(b *pool.Backend) { s.note(b, "redispatch") }

// End implements Sessions.
func (s *sessions) End(b *pool.Backend, cause Cause, limit int) int {
	time.Sleep(s.takes) // the fake clock
	s.mu.Lock()
	n := s.live[b]
	if limit > 0 {
		n = min(n, limit)
	}
	s.live[b] -= n
	s.ended[cause] += n
	s.mu.Unlock()
	for range n {
		b.Release()
	}
	s.note(b, fmt.Sprintf("end %d: %d", limit, n))
	return n
}

func (s *sessions) note(b *pool.Backend, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[b] = append(s.calls[b], fmt.Sprintf("%v %s", time.Since(s.start), what))
}

// open gives a backend live sessions, each with a slot. The backend is usable.
func (s *sessions) open(b *pool.Backend, n int) {
	var others []*pool.Backend
	for _, o := range b.Pool().Backends() {
		if o != b {
			others = append(others, o)
		}
	}
	for range n {
		if _, err := b.Pool().Reserve(netip.Addr{}, others); err != nil {
			panic(fmt.Sprintf("open a session on %s: %v", b.Name(), err))
		}
	}
	s.connected(b, n)
}

// connected gives a backend live sessions in slots that are taken already.
func (s *sessions) connected(b *pool.Backend, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[b] += n
}

// endedFor returns how many sessions were ended for a cause.
func (s *sessions) endedFor(c Cause) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended[c]
}

func (s *sessions) left(b *pool.Backend) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[b]
}

// done returns what was done to a backend's sessions since the last look.
func (s *sessions) done(b *pool.Backend) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls[b]
	delete(s.calls, b)
	return calls
}

// wantDone checks what was done to the sessions of a backend of the first pool, without the times.
func (r *rig) wantDone(when, backend string, want ...string) {
	r.t.Helper()
	var got []string
	for _, call := range r.sessions.done(r.backend(backend)) {
		_, what, _ := strings.Cut(call, " ")
		got = append(got, what)
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		r.t.Errorf("%s: done to the sessions of %s: %q, want %q", when, backend, got, want)
	}
}
