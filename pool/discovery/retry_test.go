package discovery

import (
	"testing"
	"time"
)

// TestRetry: each pause is about twice the one before, none is longer than the last, and an answer begins anew.
func TestRetry(t *testing.T) {
	var r Retry
	for range 2 {
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
			want *= time.Second
			if got := r.Failed(); got < want*8/10 || got > want*12/10 {
				t.Errorf("the pause is %v, want about %v", got, want)
			}
		}
		r.Answered()
	}
	different := map[time.Duration]bool{}
	for range 20 {
		r.Answered()
		different[r.Failed()] = true
	}
	if len(different) < 2 {
		t.Error("every first pause is the same")
	}
}
