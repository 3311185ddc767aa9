// Package discovery finds out which backends a pool has: from DNS, from a file, from Docker. Each kind of source is a
// package below this one; here is what they have in common.
//
//	Source ──Report──► Watch ──Answer──► Feed ──┐
//	Source ──Report──►   │   ──Answer──► Feed ──┼──► Members.Next ──► Backends, for pool.Prepare
//	                     ▼          what is written       │  ▲
//	              Changed, Status                         └──┘ what has vanished
//
// A Source reports whole answers. A Watch runs the sources that are wanted, once each, however many pools use them, and
// keeps what each has said last: an error is not an answer, and changes nothing. What it says again, in whatever order, is
// no change either. An Answer has the latest set and the last one that was not empty; the pool decides which counts.
//
// Members are the backends of one pool, made from what is written in its configuration and from the answers to its entries.
// They depend on what the answers are now, not on the order in which they have come: two instances that hear the same have
// the same backends, in the same order, with the same names. Of several with one address the first counts, by where the
// entries stand. So an address that one source drops and another one has is there without a break.
//
// Only what has vanished is remembered. A backend that is in no answer any more stays for a while, without new sessions,
// with its health and its counters, and is what it was if it comes back. One that leaves with its entry is gone at once, and
// is new when it is back.
//
// Members look at no clock: who calls Next says how late it is, and Due says when to call it again. Saved and Restore of
// both let a process go on where the one before was, so that a start does not wait for a source.
package discovery
