package probe

import (
	"context"
	"time"
)

// A Prober asks one server. Probe may be called while another Probe is under way; Wait is called by one goroutine.
type Prober interface {
	// Probe asks once and returns what the server said, or why it is not fit. It returns soon after ctx is done.
	Probe(ctx context.Context) (Answer, error)
	// Wait returns true as soon as a connection that is kept between probes is lost: it is worth asking at once. It
	// returns false when ctx is done.
	Wait(ctx context.Context) (lost bool)
	// Close ends what is kept between probes, politely. No Probe or Wait is under way or called later.
	Close()
}

// Answer is what a server said that is fit.
type Answer struct {
	Postgres *PostgresAnswer // nil for the other kinds
}

// PostgresAnswer is what a Postgres server says of itself.
type PostgresAnswer struct {
	Primary bool   // it is not in recovery
	System  uint64 // system identifier: the same on all servers of a cluster
	// Timeline is the one that a primary writes. Of a replica: the one it replays, which it tells at its next
	// restartpoint or page flush after a promotion, and at once to members of pg_read_all_stats; 0 = unknown.
	Timeline uint32
	// Has is up to where the WAL is that the server has: of a primary what it has flushed, which is all that a replica
	// can get, of a replica what it has received or replayed; 0 = unknown.
	Has uint64
	// Whole is a position up to Has that no record reaches across: all before it can be replayed.
	Whole uint64
	// Replayed is up to where a replica has replayed, always the end of a record; 0 for a primary, or unknown.
	Replayed uint64
	// Age is that of the last transaction that a replica replayed. A replica that lags does so by no more, but a
	// database without writes has replicas of any age that do not lag.
	Age      time.Duration
	AgeKnown bool // false for a primary, and for a replica that has replayed no transaction since it started
}
