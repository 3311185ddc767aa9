package health

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"

	"sluice/pool"
)

// travel returns what arrives of something in another process.
func travel[T any](t *testing.T, from T) (to T) {
	t.Helper()
	text, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &to); err != nil {
		t.Fatal(err)
	}
	return to
}

// successor returns the rig of another process that asks the same servers, has other pools of these specs, and has taken
// over what r knows. It does not run yet; r runs on.
func (r *rig) successor(specs ...spec) *rig {
	r.t.Helper()
	n := newRigOf(r.t, specs, r.servers)
	for name, p := range n.pools {
		if before := r.pools[name]; before != nil {
			for _, b := range p.Backends() {
				if same := before.Lookup(b.Name()); same != nil {
					b.SetAdmin(same.Admin()) // what the operator has set comes with the configuration
				}
			}
			p.Assume(travel(r.t, before.Account()))
			r.moveSessions(n, before, p)
		}
	}
	n.Assume(travel(r.t, r.Account()))
	return n
}

// moveSessions brings the live sessions of a pool over, as they are here still.
func (r *rig) moveSessions(n *rig, from, to *pool.Pool) {
	for _, b := range from.All() {
		for range r.sessions.left(b) {
			at := to.Harbour(pool.BackendConfig{Name: b.Name(), Address: b.Address()})
			at.Arrive()
			n.sessions.live[at]++
		}
	}
}

// goOn lets the rig run until its test ends.
func (r *rig) goOn() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Run(ctx)
	}()
	r.stop = func() { cancel(); <-done }
	r.t.Cleanup(r.stop)
	synctest.Wait()
}

// takeOver lets the successor of r run in its place.
func (r *rig) takeOver(specs ...spec) *rig {
	n := r.successor(specs...)
	r.stop()
	n.goOn()
	return n
}
