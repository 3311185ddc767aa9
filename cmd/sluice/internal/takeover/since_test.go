package takeover

import (
	"reflect"
	"testing"

	"sluice/pool"
)

// What was counted since is told once: of a backend that is new all of it.
func TestSince(t *testing.T) {
	counters := func(name string, dials, bytes uint64) pool.BackendCounters {
		return pool.BackendCounters{Name: name, Dials: map[string]uint64{"ok": dials}, Received: bytes, Sent: 2 * bytes}
	}
	before := []pool.BackendCounters{counters("a", 3, 10), counters("gone", 7, 7)}
	now := []pool.BackendCounters{counters("a", 5, 14), counters("new", 1, 2)}
	now[0].Dials["timeout"] = 2
	got := Since(before, now)
	want := []pool.BackendCounters{counters("a", 2, 4), counters("new", 1, 2)}
	want[0].Dials["timeout"] = 2
	if !reflect.DeepEqual(got[0].Dials, want[0].Dials) || got[0].Received != 4 || got[0].Sent != 8 || !reflect.DeepEqual(got[1], want[1]) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if now[0].Dials["ok"] != 5 {
		t.Error("what was told has changed")
	}
}
