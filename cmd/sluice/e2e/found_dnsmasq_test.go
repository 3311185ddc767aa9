package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sluice/pool/discovery/dns/dnstest"
)

// TestDnsmasqUnderLoad: three servers of an SRV record, of which the last is a backup, come and go with the addresses of their
// names, beneath clients that come and go and sessions that stay. dnsmasq is started again for each change, as it is where it
// is part of something bigger, so that nobody answers in between.
func TestDnsmasqUnderLoad(t *testing.T) {
	t.Parallel()
	p, at := newPlaces(t), dnstest.Address(t)
	p.open(1, 2, 3)
	masq := dnstest.NewDnsmasq(t, at,
		fmt.Sprintf("--srv-host=_app._tcp.internal,one.internal,%d,10,30", p.port),
		fmt.Sprintf("--srv-host=_app._tcp.internal,two.internal,%d,10,10", p.port),
		fmt.Sprintf("--srv-host=_app._tcp.internal,three.internal,%d,20,1", p.port))
	serve := func(names ...string) {
		var hosts strings.Builder
		for _, name := range names {
			fmt.Fprintf(&hosts, "%v %s.internal\n", placeIP(map[string]int{"one": 1, "two": 2, "three": 3}[name]), name)
		}
		masq.Serve(hosts.String())
	}
	serve("one", "two", "three")
	const pool = "app"
	f := startFound(t, p, listenersOf(pool)+fmt.Sprintf(`
pools:
  app:
    remove_after: 1h
    check: {interval: 500ms, fast_interval: 50ms, timeout: 30s, rise: 1, fall: 1}
    discover: {dns: {name: _app._tcp.internal, resolver: "%v", min_ttl: 20ms, max_ttl: 50ms}}
`, at), pool)
	f.until("at the start", "1 2 3", pool)
	f.settle(pool, 1, 2)
	load := sendCallers(t, f.addressesOf(pool))
	load.more(pool, 20)
	if n := p.served(3); n != 0 {
		t.Errorf("the backup has had %d sessions", n)
	}
	serve("two", "three")
	f.until("one is gone", "1~ 2 3", pool)
	load.more(pool, 20)
	serve("three")
	f.until("the backup is left", "1~ 2~ 3", pool)
	f.settle(pool, 3)
	load.stop() // or some would be on their way
	before := []int{p.served(1), p.served(2)}
	load = sendCallers(t, f.addressesOf(pool))
	load.more(pool, 20)
	if now := []int{p.served(1), p.served(2)}; !slices.Equal(now, before) {
		t.Errorf("places that have vanished had %v sessions, and have had %v by now", before, now)
	}
	serve("one", "three")
	f.until("one is back", "1 2~ 3", pool)
	load.more(pool, 20)
	masq.Stop()
	until(t, "nobody answers", func() error {
		if s := f.answer().Sources; !strings.Contains(s[0].Problem, "connection refused") {
			return fmt.Errorf("the source is %+v", s)
		}
		return nil
	})
	load.more(pool, 20)
	f.until("nobody answers", "1 2~ 3", pool)
	serve("three", "two", "one")
	f.until("all are back", "1 2 3", pool)
	load.stop()
	f.expectExact()
	f.askStaying()
	f.expectWeights(map[string]string{"1": "30", "2": "10", "3": "1 backup"})
}

// expectWeights checks the weight and the tier of each backend.
func (f *foundRig) expectWeights(want map[string]string) {
	f.t.Helper()
	for _, p := range f.answer().Pools {
		for _, b := range p.Backends {
			is := fmt.Sprint(b.Weight)
			if b.Backup {
				is += " backup"
			}
			if is != want[placeOf(b.Address)] {
				f.t.Errorf("place %s has the weight %s, want %s", placeOf(b.Address), is, want[placeOf(b.Address)])
			}
		}
	}
}
