// Package pool holds the backends of a load balancer and decides which of them takes the next session.
//
// It is memory only: no I/O, no goroutine, no clock. Whoever dials, checks or counts tells it what happened:
//
//	           Reserve                    Release
//	session ──────────► backend slot ───────────────► free
//	                    active +1         active -1
//
//	Usable = ready  &&  up  &&  not ejected  &&  weight > 0
//	         SetAdmin   SetUp   SetEjected       SetWeight
//	         (operator) (checks)(failed dials)   (operator)
//
// A slot is taken before the dial and given back exactly once, so the number of active connections of a backend is
// exact at every moment and never passes its limit.
//
// Backends that are not backups form the first tier. Backups are used only while no backend of the first tier is
// usable, and then all usable backups share the sessions by the same policy. A full first tier does not spill over.
//
// One mutex guards the states of a pool. Each session takes it twice, for well under a microsecond; what takes longer, a
// new Maglev table, is made outside it. Byte counters, which change with every message, are kept outside it in one shard per event loop.
package pool
