package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"sluice/pool/discovery/dns/dnstest"
)

// restartConfig is two pools of one name, for each of which something else becomes of sessions at what has vanished.
const restartConfig = rigHead + `
admin: {state_file: %q}
%s
pools:
  stays:
    check: {interval: 500ms, timeout: 30s}
    remove_after: 1h
    discover: &app {dns: {name: app.internal, port: %d, resolver: "%v", min_ttl: 20ms, max_ttl: 50ms}}
  closes: {check: {interval: 500ms, timeout: 30s}, remove_after: %v, on_down: {removed: {sessions: close}}, discover: *app}
`

// TestFoundAfterwards: the DNS server is down while one process follows another and while one starts after another has ended.
// What it said last is in force in each of them, what has vanished has the time that it had, and an upgrade costs no session.
func TestFoundAfterwards(t *testing.T) {
	t.Parallel()
	const removeAfter = 6 * time.Second
	p, dir := newPlaces(t), tempDir(t)
	p.open(1, 2, 3, 4)
	knot := dnstest.StartKnot(t, dnstest.Address(t), zoneOf(0, 1, 2, 3)...)
	pools := []string{"stays", "closes"}
	config := fmt.Sprintf(restartConfig, filepath.Join(dir, "state.json"), listenersOf(pools...), p.port, knot.At, removeAfter)
	u := &upgradable{pidFile: filepath.Join(dir, "pid")}
	u.run(t, dir, config)
	f := &foundRig{rig: u.rig, places: p, pools: pools}
	f.until("at the start", "1 2 3", pools...)
	for _, pool := range pools {
		f.settle(pool, 1, 2, 3)
	}
	vanished := time.Now()
	knot.Serve(zoneOf(0, 1, 2)...)
	f.until("one vanishes", "1 2 3~", pools...)
	removed := f.removedAt("stays")
	knot.Stop()
	f.untilLogged("source does not answer", "connection refused")

	load := sendCallers(t, f.addressesOf(pools...))
	u.upgrades()
	f.expectKept(removed)
	f.askStaying()
	for _, pool := range pools {
		load.more(pool, 20)
	}
	gone := f.leave(func(g *caller) bool { return g.pool == "closes" && g.place == 3 })
	for _, g := range gone { // the process before has promised it so much time, and so it is
		g.askOn()
		if took := time.Since(vanished); took < removeAfter {
			t.Errorf("a session at a place that has vanished ended after %v, want %v", took, removeAfter)
		}
	}
	f.until("its time is over", "1 2", "closes")
	load.stop()
	f.expectExact()
	for _, g := range f.stay {
		g.Close()
	}
	f.stay = nil
	f.expectExact()
	u.end()

	u.run(t, tempDir(t), config)
	f.rig = u.rig
	f.until("after a restart", "1 2", "closes")
	f.expectKept(removed)
	f.untilReady()
	load = sendCallers(t, f.addressesOf(pools...))
	for _, pool := range pools {
		load.more(pool, 20)
	}
	knot.Start()
	knot.Serve(zoneOf(0, 1, 2, 3, 4)...)
	f.until("the server is back", "1 2 3 4", pools...)
	for _, pool := range pools {
		load.more(pool, 20)
	}
	load.stop()
	f.expectExact()
}

// expectKept checks that place 3 is gone in the pool that keeps it, and until when.
func (f *foundRig) expectKept(removed time.Time) {
	f.t.Helper()
	f.until("what was said last", "1 2 3~", "stays")
	if now := f.removedAt("stays"); !now.Equal(removed) {
		f.t.Errorf("what has vanished is removed at %v, and was to be at %v", now, removed)
	}
}

// removedAt returns when the last backend of a pool is removed that has vanished.
func (f *foundRig) removedAt(pool string) (last time.Time) {
	f.t.Helper()
	for _, p := range f.answer().Pools {
		for _, b := range p.Backends {
			if p.Name == pool && b.RemovedAt.After(last) {
				last = b.RemovedAt
			}
		}
	}
	if last.IsZero() {
		f.t.Fatalf("nothing has vanished in pool %s", pool)
	}
	return last
}
