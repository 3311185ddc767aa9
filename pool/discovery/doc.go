// Package discovery finds out which backends a pool has: from DNS, from a file, from Docker. Each kind of source is a
// package below this one; here is what they have in common.
//
// A Source reports whole answers. A Watch runs the sources that are wanted and keeps what each has said last: an error is
// not an answer, and changes nothing. Members makes the backends of one pool from what is written in the configuration and
// from the answers of its sources. An address that is in no answer any more is kept for a while, without new sessions, and
// is what it was if it comes back.
package discovery
