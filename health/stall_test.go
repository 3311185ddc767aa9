package health

import (
	"testing"
	"time"
)

// A process that stood still does not hold the time against the servers: a probe that it
// could not listen for is made again, even where one failure is enough.
func TestStalledProcessBlamesNobody(t *testing.T) {
	cfg := steady()
	cfg.Fall, cfg.Interval = 1, time.Minute
	inBubble(t, []spec{{"web", "a b", cfg}}, nil, func(r *rig) {
		after(time.Second)
		a := r.servers["a"]
		a.mu.Lock()
		a.silent, a.late = true, 8*time.Second
		a.mu.Unlock()
		after(time.Minute)
		asked := len(a.times())
		a.set(nil) // it has answered all the time
		a.mu.Lock()
		a.late = 0
		a.mu.Unlock()
		after(10 * time.Second)
		r.wantUp("after a stop of 8 s", "web", "a b")
		if got := len(a.times()); got != asked+1 {
			t.Errorf("asked %d times after the stop, want once, at once", got-asked)
		}
	})
}

// Whatever slows a process down all the time is no excuse: a dead server is found.
func TestSlowProcessFindsDeadServer(t *testing.T) {
	inBubble(t, web("a b"), nil, func(r *rig) {
		after(time.Second)
		a := r.servers["a"]
		a.mu.Lock()
		a.silent, a.late = true, 2*time.Second
		a.mu.Unlock()
		after(time.Minute)
		r.wantUp("after a minute", "web", "b")
	})
}
