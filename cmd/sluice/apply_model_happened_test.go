package main

import (
	"sync"
	"testing"
)

// happenings are what has come to pass in all plays: random ones must not all miss what they are there for.
type happenings struct {
	mu    sync.Mutex
	plays int
	count map[string]int
}

func newHappenings() *happenings { return &happenings{count: make(map[string]int)} }

func (h *happenings) add(count map[string]int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.plays++
	for what, n := range count {
		h.count[what] += n
	}
}

// check wants each of them to have happened, if there were enough plays: of a few, chosen by -run, some may miss one.
func (h *happenings) check(t *testing.T) {
	t.Helper()
	t.Logf("in %d plays: %v", h.plays, h.count)
	if h.plays < 8 {
		return
	}
	for _, what := range []string{
		"served at once", "served after a wait", "client_closed", "server_closed", "client_limit", "no_backend", "queue_full",
		"gave up waiting", "waited before the listener", "let in at a place", "let in at an address that is gone",
		"a pool goes with sessions on it", "a backend goes with sessions on it", "a backend is back with sessions on it",
		"a listener goes with sessions on it", "a listener is back with sessions on it", "a server is ill",
	} {
		if h.count[what] == 0 {
			t.Errorf("never happened: %s", what)
		}
	}
}
