package l4

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// ClientLimits are what a listener grants each of its clients: an IPv4 address,
// or an IPv6 network, because a host has as many addresses in its network as it
// likes.
type ClientLimits struct {
	// Sessions is how many may be open at the same time; 0 = no limit.
	Sessions int
	// Rate is how many may begin per second in the long run; 0 = no limit.
	Rate float64
	// Burst is how many may begin at once after a pause; 0 = as many as Rate
	// allows in a second, at least one.
	Burst int
	// IPv6Prefix is how many bits an IPv6 network has that is one client; 0 = 64.
	// Inside a cluster, say, many machines share a network of 64 bits.
	IPv6Prefix int
	// Table is how many clients can be known at a time, 48 bytes each; 0 = 65,536,
	// or a quarter more than the sessions that can be open, if that is more: then
	// there is room for every client with a session, wherever they come from.
	Table int
}

const (
	defaultIPv6Prefix  = 64
	defaultClientTable = 1 << 16
	maxClientTable     = 1 << 24
	maxClientRate      = 1e6             // in nanoseconds per session, more would be imprecise
	maxBucketTime      = 365 * 24 * 3600 // seconds that an empty bucket may take to fill
)

// Check returns every problem of the limits.
func (c ClientLimits) Check() error {
	var sessions, rate, burst, prefix, table error
	if c.Sessions < 0 || c.Sessions > math.MaxInt32 {
		sessions = fmt.Errorf("sessions %d: want at most %d, or 0 for no limit", c.Sessions, math.MaxInt32)
	}
	if !(c.Rate >= 0 && c.Rate <= maxClientRate) { // NaN is neither
		rate = fmt.Errorf("rate %v/s: want at most %d/s, or 0 for no limit", c.Rate, int(maxClientRate))
	}
	switch {
	case c.Burst < 0:
		burst = fmt.Errorf("burst %d: must not be negative", c.Burst)
	case c.Burst > 0 && c.Rate == 0:
		burst = fmt.Errorf("burst %d: there is no rate", c.Burst)
	case rate == nil && c.Rate > 0 && float64(max(c.Burst, 1))/c.Rate > maxBucketTime:
		burst = fmt.Errorf("rate %v/s: a burst of %d would take more than a year to be granted again", c.Rate,
			max(c.Burst, 1))
	}
	if c.IPv6Prefix < 0 || c.IPv6Prefix > 128 {
		prefix = fmt.Errorf("ipv6_prefix %d: want at most 128, or 0 for %d", c.IPv6Prefix, defaultIPv6Prefix)
	}
	if c.Table < 0 || c.Table > maxClientTable {
		table = fmt.Errorf("table of %d clients: want at most %d, or 0 for %d", c.Table, maxClientTable, defaultClientTable)
	}
	return errors.Join(sessions, rate, burst, prefix, table)
}

// clientTable is how many clients are known where so many sessions can be open: a
// quarter more, so that there is room for every client with a session.
func clientTable(sessions int) int {
	return min(max(sessions+sessions/4, defaultClientTable), maxClientTable)
}

// A bucket is the rate of a ClientLimits as the table uses it. A client's tokens
// are not counted: all that is known of it is when its bucket will be full again.
// A session moves that by cost, and begins only if it is then at most depth
// ahead. This is the token bucket, without a refill to be worked out and without
// rounding; and a bucket that is full is a point in the past, whenever that was.
type bucket struct {
	cost, depth time.Duration // both zero: every session may begin
}

func (c ClientLimits) bucket() bucket {
	if c.Rate == 0 {
		return bucket{}
	}
	burst := c.Burst
	if burst == 0 {
		burst = max(1, int(math.Ceil(c.Rate)))
	}
	cost := time.Duration(math.Round(float64(time.Second) / c.Rate))
	return bucket{cost: cost, depth: cost * time.Duration(burst)}
}

// take returns when a bucket that is full at some time will be full after one
// more session, and whether that session may begin now.
func (b bucket) take(full, now time.Duration) (next time.Duration, ok bool) {
	next = max(full, now) + b.cost
	return next, next-now <= b.depth
}

// lacks reports whether a bucket that is full at some time is not full now.
func (b bucket) lacks(full, now time.Duration) bool { return b.cost > 0 && full > now }
