package clients

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Limits are what a listener grants each of its clients: an IPv4 address, or an IPv6 network, because a host has as
// many addresses in its network as it likes.
type Limits struct {
	// Sessions is how many may be open at the same time; 0 = no limit.
	Sessions int
	// Rate is how many may begin per second in the long run; 0 = no limit.
	Rate float64
	// Burst is how many may begin at once after a pause; 0 = as many as Rate allows in a second, at least one.
	Burst int
	// IPv6Prefix is how many bits an IPv6 network has that is one client; 0 = 64.
	// Inside a cluster, say, many machines share a network of 64 bits.
	IPv6Prefix int
	// Table is how many clients can be known at a time, 48 bytes each; 0 = 65,536, or a quarter more than the sessions
	// that can be open, if that is more: then there is room for every client with a session, wherever they come from.
	Table int
}

// What a zero in Limits stands for.
const (
	DefaultIPv6Prefix = 64
	DefaultTable      = 1 << 16
)

const (
	maxTable      = 1 << 24
	maxRate       = 1e6             // in nanoseconds per session, more would be imprecise
	maxBucketTime = 365 * 24 * 3600 // seconds that an empty bucket may take to fill
)

// Check returns every problem of the limits.
func (c Limits) Check() error {
	var sessions, rate, burst, prefix, table error
	if c.Sessions < 0 || c.Sessions > math.MaxInt32 {
		sessions = fmt.Errorf("sessions %d: want at most %d, or 0 for no limit", c.Sessions, math.MaxInt32)
	}
	if !(c.Rate >= 0 && c.Rate <= maxRate) { // NaN is neither
		rate = fmt.Errorf("rate %v/s: want at most %d/s, or 0 for no limit", c.Rate, int(maxRate))
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
		prefix = fmt.Errorf("ipv6_prefix %d: want at most 128, or 0 for %d", c.IPv6Prefix, DefaultIPv6Prefix)
	}
	if c.Table < 0 || c.Table > maxTable {
		table = fmt.Errorf("table of %d clients: want at most %d, or 0 for %d", c.Table, maxTable, DefaultTable)
	}
	return errors.Join(sessions, rate, burst, prefix, table)
}

// TableFor is how many clients are known where so many sessions can be open: a
// quarter more, so that there is room for every client with a session.
func TableFor(sessions int) int {
	return min(max(sessions+sessions/4, DefaultTable), maxTable)
}

// A Bucket is the rate of Limits as the table uses it. A client's tokens are not counted: all that is known of it is
// when its bucket will be full again. A session moves that by cost, and begins only if it is then at most depth ahead.
// This is the token bucket, without a refill to be worked out and without rounding; and a bucket that is full is a
// point in the past, whenever that was.
type Bucket struct {
	cost, depth time.Duration // both zero: every session may begin
}

// Bucket returns the rate of c as a bucket.
func (c Limits) Bucket() Bucket {
	if c.Rate == 0 {
		return Bucket{}
	}
	burst := c.Burst
	if burst == 0 {
		burst = max(1, int(math.Ceil(c.Rate)))
	}
	cost := time.Duration(math.Round(float64(time.Second) / c.Rate))
	return Bucket{cost: cost, depth: cost * time.Duration(burst)}
}

// Take returns when a bucket that is full at some time will be full after one
// more session, and whether that session may begin now.
func (b Bucket) Take(full, now time.Duration) (next time.Duration, ok bool) {
	next = max(full, now) + b.cost
	return next, next-now <= b.depth
}

// lacks reports whether a bucket that is full at some time is not full now.
func (b Bucket) lacks(full, now time.Duration) bool { return b.cost > 0 && full > now }
