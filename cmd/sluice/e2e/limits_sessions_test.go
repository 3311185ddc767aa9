package e2e

import (
	"fmt"
	"net"
	"testing"
)

// limitedConfig has a listener with a limit of its own, and one without, of the same pool.
const limitedConfig = `
listeners:
  limited: {bind: "127.0.0.1:0", pool: echo, max_sessions: %d}
  free: {bind: "127.0.0.1:0", pool: echo}
pools:
  echo:
    check: {type: off}
    backends: [{name: echo, address: %q}]
`

// Connections that a listener does not take wait where the kernel keeps them, and are served when others end. None is
// refused.
func TestLimitsMaxSessions(t *testing.T) {
	t.Parallel()
	const most, crowd = 4, 40
	e := startCountedEcho(t)
	r := startSluice(t, fmt.Sprintf(limitedConfig, most, e.address()))
	address := r.address("limited")
	var open []net.Conn
	for range most {
		open = append(open, served(t, "127.0.0.1", address, ""))
	}
	var waiting []net.Conn
	for range crowd {
		waiting = append(waiting, dialFrom(t, "127.0.0.1", address, "w"))
	}
	r.expectAtLimit("limited", most)
	r.untilLogged(`"level":"WARN"`, "near the limit", `"listener":"limited"`)
	served(t, "127.0.0.1", r.address("free"), "").Close() // has nothing to do with it
	for _, c := range open {
		expectEcho(t, c)
	}
	for i, c := range open {
		c.Close()
		expectByte(t, waiting[i], "w")
	}
	r.expectAtLimit("limited", most)
	// The rest all at once: each ends as soon as it is served.
	for _, c := range waiting[:most] {
		c.Close()
	}
	expectServed(t, waiting[most:])
	r.expectClean(most + crowd + 1)
	if n := e.most.Load(); n > most+1 {
		t.Errorf("the server had %d sessions at a time, want at most %d, and one of the other listener", n, most)
	}
	if n := r.limits().listener(t, "limited"); n.AtLimit {
		t.Errorf("a listener without sessions is at its limit: %+v", n)
	}
}

// expectAtLimit checks that a listener has taken as many sessions as it may, and no more while a loop could have.
func (r *rig) expectAtLimit(listener string, want int) {
	r.t.Helper()
	until(r.t, fmt.Sprintf("listener %s is at its limit of %d", listener, want), func() error {
		if l := r.limits().listener(r.t, listener); l.Sessions != want || !l.AtLimit || l.MaxSessions != want {
			return fmt.Errorf("it is %+v", l)
		}
		return nil
	})
}
