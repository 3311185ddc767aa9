package l4

import (
	"slices"
	"sync/atomic"
	"time"

	"sluice/pool"
)

// A listener is its name and its counters, which are touched once per session. What it does
// with sessions its rules say; where they come from, its sockets.
type listener struct {
	name    string
	rules   atomic.Pointer[rules]           // of new sessions
	earlier atomic.Pointer[[]*rules]        // that sessions still have, the newest last
	sockets atomic.Pointer[[]*listenSocket] // in configured order; those that it had last, once it is leaving
	leaving atomic.Bool                     // it takes no sessions any more
	// sole is the address of its only socket, while it has never had another one.
	sole atomic.Pointer[pool.Address]

	accepts      atomic.Uint64
	acceptErrors atomic.Uint64
	resting      atomic.Int32 // how many loops let it rest
	scarceUntil  atomic.Int64 // when a loop last had no descriptors or memory, and restTime; on the server's clock
	unrouted     endCounters  // ends before a pool was chosen

	places quota   // for max_sessions
	scarce warning // of descriptors or memory
}

type endCounters [numReasons]atomic.Uint64

func (ls *listener) endCounters(t *target) *endCounters {
	if t == nil {
		return &ls.unrouted
	}
	return &t.ended
}

func newListener(name string) *listener {
	ls := &listener{name: name, places: quota{name: "listener"}}
	ls.earlier.Store(new([]*rules))
	ls.sockets.Store(new([]*listenSocket))
	return ls
}

// setSockets notes which sockets belong to the listener.
func (ls *listener) setSockets(sockets []*listenSocket) {
	switch sole := ls.sole.Load(); {
	case ls.rules.Load() == nil && len(sockets) == 1:
		ls.sole.Store(&sockets[0].bound)
	case sole != nil && (len(sockets) > 1 || len(sockets) == 1 && sockets[0].bound != *sole):
		ls.sole.Store(nil)
	}
	ls.sockets.Store(&sockets)
}

// setRules puts rules in force for new sessions.
func (ls *listener) setRules(next *rules) {
	old := ls.rules.Load()
	if old == next {
		return
	}
	if old != nil { // before it is replaced: nobody is to find it in neither place
		earlier := slices.DeleteFunc(slices.Clone(*ls.earlier.Load()), func(r *rules) bool { return r == next })
		earlier = append(earlier, old)
		ls.earlier.Store(&earlier)
	}
	ls.rules.Store(next)
}

// forget drops the rules that no session has any more. No loop may be about to begin one
// with them: all have said something since other rules are in force.
func (ls *listener) forget() {
	used := slices.DeleteFunc(slices.Clone(*ls.earlier.Load()), func(r *rules) bool { return r.sessions.Load() == 0 })
	ls.earlier.Store(&used)
}

// everyRules returns the rules that are in force, and those that sessions still have, the
// newest first.
func (ls *listener) everyRules() (all []*rules) {
	now := ls.rules.Load()
	if now != nil {
		all = append(all, now)
	}
	for _, r := range slices.Backward(*ls.earlier.Load()) {
		if r != now { // it was replaced in between
			all = append(all, r)
		}
	}
	return all
}

// everyTarget returns the targets of all rules, of each pool that of the newest.
func (ls *listener) everyTarget() (all []*target) {
	seen := make(map[*tally]bool)
	for _, r := range ls.everyRules() {
		for _, t := range r.targets.all {
			if !seen[t.tally] {
				seen[t.tally] = true
				all = append(all, t)
			}
		}
	}
	return all
}

// sessionCount returns how many sessions are open, and how many of them have rules that
// are not in force any more.
func (ls *listener) sessionCount() (all, outdated int) {
	for i, r := range ls.everyRules() {
		n := int(r.sessions.Load())
		all += n
		if i > 0 {
			outdated += n
		}
	}
	return all, outdated
}

// A warning is one that a flood must not repeat for every connection.
type warning struct {
	last atomic.Int64 // when it was last logged, on the server's clock
}

// due is true once in ten seconds.
func (w *warning) due(now time.Duration) bool {
	last := w.last.Load()
	if last != 0 && int64(now)-last < int64(10*time.Second) {
		return false
	}
	return w.last.CompareAndSwap(last, max(1, int64(now)))
}
