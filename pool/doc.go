// Package pool holds the backends of a load balancer and decides which of them takes the next session.
//
// It is memory only: no I/O, no goroutine. Whoever dials, checks or counts tells it what happened. It reads the clock
// only while a backend is in slow start.
//
//	           Reserve, ReserveOrWait                Release
//	session ──────────────────────────► backend slot ───────► free
//	   │                                  active +1  active -1  │
//	   │ none is free                         ▲                 │
//	   │                                      │ Granted         │
//	   └───────────────► queue ───────────────┴◄────────────────┘
//	                       │                     and whatever else
//	                       └───► gone            opens a place
//	                       Leave
//
//	Usable = ready  &&  up  &&  not ejected  &&  weight > 0  &&  not vanished
//	         SetAdmin   SetUp   SetEjected       SetWeight       Update
//	         (operator) (checks)(failed dials)   (operator)      (who says which backends there are)
//
// A slot is taken before the dial and given back exactly once, so the number of active connections of a backend is
// exact at every moment. It never passes the limit.
//
// Backends that are not backups form the first tier. Backups are used only while no backend of the first tier is
// usable, and then all usable backups share the sessions by the same policy. A full first tier does not spill over.
// SetBackup moves a backend from tier to tier.
//
// A session for which there is no backend, because all are full or none is usable, waits in the queue. Every change
// that may open a place hands it over in the same critical section, first come first served, so a session that comes
// later cannot take it. A waiter that has failed on all that has room is passed over, until one of those comes back
// or Forgive gives it another chance.
//
// A backend that becomes usable again ramps: for the time of Config.SlowStart its weight counts in part, from 1 % to
// all of it. That changes how sessions are shared out, never whether there is room: a backend that is alone, or the
// only one with a free slot, takes everything. The policy first knows no shares and ignores it.
//
// Update replaces the configuration while the pool is in use. A backend is its name and its address, never its position:
// one that stays is the same *Backend, one that leaves takes no new sessions and is forgotten with its last one.
//
//	          Update without it            Release of the last
//	in use ─────────────────────► leaving ─────────────────────► forgotten
//	   ▲                             │        at once when there is none
//	   └─────────────────────────────┘
//	          Update with it
//
// Prepare works an update out without a change, for who has more to prepare that can fail; Commit cannot.
//
// Account and Assume let the pool of another process go on where this one is, and Counters with what it has counted. While
// sessions move from one to the other each counts those of the other (elsewhere.go), so that both together keep to
// max_conns, and those who wait Rejoin the queue at their places.
//
// One mutex guards the states of a pool. Each session takes it twice, for well under a microsecond; what takes
// longer, a new Maglev table, is made outside it. Byte counters, which change with every message, are kept outside it
// in one shard per event loop.
package pool
