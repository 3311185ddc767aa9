package clients

import (
	"net/netip"
	"testing"
	"time"
)

// Without a rate no client is rate-limited. The loops' clocks are not the same: each has the time of
// its last batch of events.
func TestNoRateNoRateLimit(t *testing.T) {
	c := New(Limits{Sessions: 5})
	addr := netip.MustParseAddr("192.0.2.1")
	for i, now := range []time.Duration{time.Second, time.Second - 1, 1, 2 * time.Second, 0} {
		if got := c.Admit(addr, now); got != Admitted {
			t.Errorf("session %d, at %v: verdict %d, want Admitted", i+1, now, got)
		}
	}
}

// Nor does an older clock cost a client the last session of its burst.
func TestBurstWithOlderClock(t *testing.T) {
	c := New(Limits{Rate: 1, Burst: 3})
	addr := netip.MustParseAddr("192.0.2.1")
	for i, now := range []time.Duration{time.Second, time.Second - time.Microsecond, time.Second - time.Millisecond} {
		if got := c.Admit(addr, now); got != Uncounted {
			t.Errorf("session %d of a burst of 3, at %v: verdict %d, want it to come in", i+1, now, got)
		}
	}
	if got := c.Admit(addr, time.Second); got != RateLimited {
		t.Errorf("one more: verdict %d, want a refusal", got)
	}
}
