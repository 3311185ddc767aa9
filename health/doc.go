// Package health decides which backends are fit for sessions, and what becomes of the sessions of one that is not.
//
// One Monitor watches all pools. A server that several backends ask the same way is one target with one probe; what each
// pool makes of the answer is its own affair:
//
//	probe.Prober ──► target: rise / fall ──► facts ──► verdicts ──► Backend.SetUp, SetBackup
//	                 (schedule.go, state.go)  (verdict.go, splitbrain.go)  │
//	                                                                      └► Sessions.Redispatch, End
//	connects of sessions ──► Observe ──► failures in a window ──► Backend.SetEjected       (ondown.go)
//	                                     (eject.go)
//
// A backend that is only asked whether it answers starts up, and its first probe decides alone: one that is dead when
// sluice starts is found by one probe, not by fall of them. From then on fall failures in a row take it down and rise
// successes bring it up. A backend of which a role or a lag is wanted starts down: nobody knows yet which is the primary.
//
// With role primary at most one backend of a pool is up at any time: the one that answers as a primary on the highest
// timeline that was ever seen of its cluster. When it is not clear which one that is, none is. Timelines and Restore let that
// outlive the process.
//
// A backend whose address is not known yet is down for that reason, and asked as soon as it is (late.go).
//
// An ejected backend comes back after a while by itself, because nothing but sessions can show whether it works again.
//
// Monitor.Apply replaces pools, backends and settings while all this goes on; New is an Apply to a monitor of nothing. It
// is Prepare, which plans and can fail (plan.go), and Commit, which carries out (apply.go). What is known of a server belongs to the question
// that it is asked, and goes on for as long as somebody asks that.
//
// Monitor.Account is what the monitor of another process must know to go on as this one would have; Monitor.Assume takes it
// in. What the other one asks differently, it treats as Apply does.
//
// Monitor.Run holds two goroutines per target and one per probe in flight, one per pool that closes sessions, and two
// more: for ejections and for what the operator wants. They share one mutex, and nobody waits for anything but memory
// while holding it: the logger must not block. The decisions are plain functions of what happened and when, apart from clocks and
// goroutines.
package health
