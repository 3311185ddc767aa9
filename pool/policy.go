package pool

import (
	"net/netip"
	"sluice/pool/words"
)

// Policy is how a pool chooses among the backends that can take a session.
type Policy uint8

const (
	// LeastConn picks the backend with the fewest active connections for its weight.
	LeastConn Policy = iota
	// RoundRobin gives backends turns in proportion to their weights, spread out evenly.
	RoundRobin
	// Random draws two backends by weight and picks the one with fewer active connections for its weight.
	Random
	// SourceHash sends a client address to the same backend for as long as it can take sessions.
	SourceHash
	// First fills the backends up in configured order; it needs max_conns to ever leave the first one.
	First
)

var policyWords = words.Table[Policy]{Type: "Policy", What: "balance policy", Words: []string{
	LeastConn: "least_conn", RoundRobin: "round_robin", Random: "random", SourceHash: "source_hash", First: "first",
}}

// Policies returns the word of every policy, for messages that say what can be written.
func Policies() []string { return policyWords.All() }

// String returns the policy's word, such as "least_conn".
func (p Policy) String() string { return policyWords.Of(p) }

// MarshalText returns the policy's word.
func (p Policy) MarshalText() ([]byte, error) { return policyWords.Marshal(p) }

// UnmarshalText sets the policy from its word.
func (p *Policy) UnmarshalText(text []byte) error { return policyWords.Unmarshal(text, p) }

// A balancer is a policy at work in one pool. A change of weights, or of the backends, makes a new one.
type balancer interface {
	// pick is called with the pool's mutex held. It returns the candidate that takes the next session, or nil when
	// none is free. There is at least one candidate; all are usable and of one tier, in configured order, but for the leader, which is first. Slow start
	// changes who is picked, never whether one is.
	pick(candidates []*Backend, client netip.Addr) *Backend
}

// newBalancer returns the policy's balancer for a pool's backends at these weights. It reads only what never changes of
// a backend, and needs no lock.
func newBalancer(p Policy, all []*Backend, weights []int) balancer {
	switch p {
	case LeastConn:
		return new(leastConn)
	case RoundRobin:
		return new(roundRobin)
	case Random:
		return random{}
	case SourceHash:
		return newSourceHash(all, weights)
	case First:
		return first{}
	}
	panic("pool: no balancer for " + p.String())
}
