// Package health decides which backends of a pool are fit for sessions.
//
// Two kinds of evidence come together, each with a switch of its own on the backend:
//
//	active checks                                 real connects of sessions
//	Checker ──► rise / fall ──► Backend.SetUp     Observe ──► failures in a window ──► Backend.SetEjected
//	            (state.go)                                    (eject.go)
//
// A backend starts up, and its first check decides alone: one that is dead when sluice starts is found by one check,
// not by fall of them. From then on fall failures in a row take it down and rise successes bring it up. An ejected
// backend comes back after a while by itself, because nothing but sessions can show whether it works again.
//
// Monitor.Run holds one goroutine per backend that checks, one at a time, and one that ends ejections. The decisions
// are plain functions of what happened and when, apart from clocks and goroutines.
package health
