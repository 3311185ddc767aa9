package load

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogramQuantiles(t *testing.T) {
	f := func(name string, values []time.Duration) {
		t.Helper()
		var h Histogram
		for _, v := range values {
			h.Record(v)
		}
		sorted := slices.Sorted(slices.Values(values))
		for _, q := range []float64{0, 0.25, 0.5, 0.9, 0.99, 1} {
			want := sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
			got := h.Quantile(q)
			if math.Abs(float64(got-want)) > 0.008*float64(want) {
				t.Errorf("%s: quantile %v: got %v, want %v within 0.8 percent", name, q, got, want)
			}
		}
		if h.Count() != uint64(len(values)) {
			t.Errorf("%s: count %d, want %d", name, h.Count(), len(values))
		}
	}
	f("one value", []time.Duration{12345})
	f("small values are exact", []time.Duration{0, 1, 2, 3, 100, 127, 128, 129, 200, 255})
	f("a long tail", append(slices.Repeat([]time.Duration{time.Microsecond}, 98), time.Millisecond, time.Second))
	f("largest duration", []time.Duration{1, math.MaxInt64})
	random := rand.New(rand.NewPCG(1, 2))
	var spread []time.Duration
	for range 100_000 {
		spread = append(spread, time.Duration(math.Exp(random.Float64()*20)))
	}
	f("six decades", spread)
}

func TestHistogramBucketsAreInOrder(t *testing.T) {
	last := -1
	for shift := range 63 {
		for _, v := range []uint64{1 << shift, 1<<shift + 1<<shift/2, 1<<(shift+1) - 1} {
			b := bucketOf(v)
			if b < last || b >= buckets {
				t.Fatalf("value %d is in bucket %d after %d of %d", v, b, last, buckets)
			}
			if m := uint64(middle(b)); bucketOf(m) != b {
				t.Errorf("middle %d of bucket %d is in bucket %d", m, b, bucketOf(m))
			}
			last = b
		}
	}
}

func TestHistogramMerge(t *testing.T) {
	var a, b, empty Histogram
	a.Record(10)
	b.Record(5)
	b.Record(20)
	a.Merge(&b)
	a.Merge(&empty)
	if a.Count() != 3 || a.Quantile(0) != 5 || a.Quantile(0.5) != 10 || a.Quantile(1) != 20 {
		t.Errorf("merged: count %d, quantiles %d %d %d; want 3, 5 10 20",
			a.Count(), a.Quantile(0), a.Quantile(0.5), a.Quantile(1))
	}
	if empty.Quantile(0.5) != 0 {
		t.Errorf("quantile of nothing: %v, want 0", empty.Quantile(0.5))
	}
}
