package e2e

import (
	"fmt"
	"testing"
	"time"
)

const (
	// patient is how long a test waits for what must happen. It is long because machines that test are busy; nothing waits
	// for it to pass.
	patient = 90 * time.Second
	// pollEvery is the time between two looks at a condition.
	pollEvery = 10 * time.Millisecond
)

// until waits for a condition; an error says why it does not hold yet.
func until(t *testing.T, what string, holds func() error) {
	t.Helper()
	deadline := time.Now().Add(patient)
	for {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in %v: %v", what, patient, err)
		}
		time.Sleep(pollEvery)
	}
}

// untilSame waits until a list has the elements that are wanted, each as often as it is there, in any order.
func untilSame[T comparable](t *testing.T, what string, want []T, list func() []T) {
	t.Helper()
	until(t, what, func() error {
		got := list()
		if missing, strange := difference(want, got), difference(got, want); len(missing)+len(strange) > 0 {
			return fmt.Errorf("missing: %v; not wanted: %v", missing, strange)
		}
		return nil
	})
}

// difference returns what a has and b has not, counting how often.
func difference[T comparable](a, b []T) (rest []T) {
	count := make(map[T]int)
	for _, v := range b {
		count[v]++
	}
	for _, v := range a {
		if count[v]--; count[v] < 0 {
			rest = append(rest, v)
		}
	}
	return rest
}
