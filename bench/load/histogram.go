package load

import (
	"math/bits"
	"time"
)

// subBits sets the resolution: 128 buckets per power of two, so a quantile is at most 0.8 percent off.
const (
	subBits    = 7
	subBuckets = 1 << subBits
	buckets    = (64-subBits-1)*subBuckets + 2*subBuckets
)

// A Histogram counts durations in logarithmic buckets of nanoseconds, as
// HdrHistogram does. The zero value is empty. It belongs to one goroutine.
type Histogram struct {
	counts   [buckets]uint64
	n        uint64
	min, max time.Duration
}

// Record adds one duration; a negative one counts as zero.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	h.counts[bucketOf(uint64(d))]++
	if h.n == 0 || d < h.min {
		h.min = d
	}
	h.max = max(h.max, d)
	h.n++
}

// Count is the number of durations recorded.
func (h *Histogram) Count() uint64 { return h.n }

// Merge adds everything that other holds.
func (h *Histogram) Merge(other *Histogram) {
	if other.n == 0 {
		return
	}
	for i, count := range other.counts {
		h.counts[i] += count
	}
	if h.n == 0 || other.min < h.min {
		h.min = other.min
	}
	h.max = max(h.max, other.max)
	h.n += other.n
}

// Quantile returns the duration that the share q (0 to 1) of all recorded ones does not exceed; 0 when nothing was
// recorded. The smallest and the largest duration are exact, what lies between is within 0.8 percent.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := uint64(q * float64(h.n))
	if rank >= h.n {
		return h.max
	}
	var seen uint64
	for i, count := range h.counts {
		seen += count
		if seen > rank {
			return min(max(middle(i), h.min), h.max)
		}
	}
	return h.max
}

// bucketOf maps values below subBuckets to themselves and every later power
// of two to subBuckets buckets of equal width.
func bucketOf(v uint64) int {
	shift := max(bits.Len64(v)-subBits-1, 0)
	return shift<<subBits + int(v>>shift)
}

// middle is the value halfway through bucket i.
func middle(i int) time.Duration {
	if i < 2*subBuckets {
		return time.Duration(i)
	}
	shift := i>>subBits - 1
	low := uint64(i-shift<<subBits) << shift
	return time.Duration(low + 1<<shift/2)
}
