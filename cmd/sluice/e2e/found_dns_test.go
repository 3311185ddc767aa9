package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/pool/discovery/dns/dnstest"
)

// A foundPlan is how long a zone is played with.
type foundPlan struct {
	outage      time.Duration // how long the server says SERVFAIL
	removeAfter time.Duration
	served      int // clients of each pool at each step, at least
}

// foundPlanOf returns the plan of the variable SLUICE_DISCOVERY: "full" is that of make discovery.
func foundPlanOf(t *testing.T) foundPlan {
	switch how := os.Getenv("SLUICE_DISCOVERY"); how {
	case "":
		return foundPlan{outage: 500 * time.Millisecond, removeAfter: 1500 * time.Millisecond, served: 20}
	case "full":
		return foundPlan{outage: time.Minute, removeAfter: 10 * time.Second, served: 1000}
	default:
		t.Fatalf("SLUICE_DISCOVERY=%s: want full, or nothing", how)
		return foundPlan{}
	}
}

// zoneConfig is pools of one name: stays and waits keep for an hour what has vanished, the others for a time that a test can wait
// for.
const zoneConfig = `
pools:
  stays:
    check: &check {interval: 500ms, fast_interval: 50ms, down_interval: 500ms, timeout: 30s, rise: 1, fall: 1}
    on_down: &keep {failed: {sessions: keep}}
    remove_after: 1h
    discover: &app {dns: {name: app.internal, port: %[1]d, resolver: "%[2]v", min_ttl: 20ms, max_ttl: 50ms}}
  waits: {check: *check, on_down: *keep, remove_after: 1h, on_empty: empty, queue: {max: 1000, timeout: 10m}, discover: *app}
  goes: {check: *check, on_down: *keep, remove_after: %[3]v, discover: *app}
  closes: {check: *check, on_down: {failed: {sessions: keep}, removed: {sessions: close}}, remove_after: %[3]v, discover: *app}
`

// TestDNSUnderLoad changes a zone of Knot DNS in all ways beneath clients that come and go and sessions that stay. No client
// fails. Sessions at an address that has vanished stay until its time is over, and then go as on_down.removed says. What is
// known of an address, and what was set of it, comes back with it. What sluice counts is what servers and the kernel count.
func TestDNSUnderLoad(t *testing.T) {
	t.Parallel()
	plan := foundPlanOf(t)
	f := startZone(t, plan)
	began := time.Now()
	load := f.load()
	load = f.growAndShrink(load)
	f.comeBack(load)
	f.sayNothing(load)
	f.growALot(load)
	load.stop()
	f.expectExact()
	showTable(t, "DNS", fmt.Sprintf("in %v clients were served: %v\n%d sessions have stayed",
		time.Since(began).Round(time.Millisecond), load, len(f.stay)))
	f.endAll()
}

// A zoneRig is a foundRig whose backends a zone has.
type zoneRig struct {
	*foundRig
	knot *dnstest.Knot
	plan foundPlan
}

var zonePools = []string{"stays", "waits", "goes", "closes"}

func startZone(t *testing.T, plan foundPlan) *zoneRig {
	t.Helper()
	p := newPlaces(t)
	for n := range 201 {
		if n > 0 {
			p.open(n)
		}
	}
	z := &zoneRig{plan: plan, knot: dnstest.StartKnot(t, dnstest.Address(t), zoneOf(0, 1, 2)...)}
	config := listenersOf(zonePools...) + fmt.Sprintf(zoneConfig, p.port, z.knot.At, plan.removeAfter)
	z.foundRig = startFound(t, p, config, zonePools...)
	z.until("at the start", "1 2", zonePools...)
	for _, pool := range zonePools {
		z.settle(pool, 1, 2)
	}
	return z
}

// zoneOf returns the records of the name for places of these numbers.
func zoneOf(ttl int, numbers ...int) (records []string) {
	for _, n := range numbers {
		records = append(records, fmt.Sprintf("app.internal. %d A %v", ttl, placeIP(n)))
	}
	return records
}

func (z *zoneRig) load() *callers { return sendCallers(z.t, z.addressesOf(zonePools...)) }

// again lets new clients come, and adds to what the others have seen.
func (z *zoneRig) again(before *callers) *callers {
	next := z.load()
	next.add(before)
	return next
}

// growAndShrink: three addresses come, with a TTL of a day that is clamped, and vanish again, with sessions. It returns the
// clients that come now.
func (z *zoneRig) growAndShrink(load *callers) *callers {
	z.knot.Serve(zoneOf(86400, 5, 3, 4, 2, 1)...)
	z.until("it grows", "1 2 3 4 5", zonePools...)
	before := z.source()
	for _, pool := range zonePools {
		z.settle(pool, 3, 4, 5)
		load.more(pool, z.plan.served)
	}
	if now := z.source(); now.Generation != before.Generation || now.Answers == before.Answers {
		z.t.Errorf("the same addresses in other orders: %+v, and before %+v", now, before)
	}
	z.sets("4", "drain")
	z.until("one is drained", "1 2 3 4! 5", "stays")
	began := time.Now()
	z.knot.Serve(zoneOf(0, 2, 1)...)
	z.until("it shrinks", "1 2 3~ 4~ 5~", "stays", "waits")
	load.stop()
	z.placeGoes(3)
	over := z.expectClosed(began)
	z.expectExact()
	served := []int{z.places.served(3), z.places.served(4), z.places.served(5)}
	load = z.again(load)
	z.until("its time is over", "1 2", "goes", "closes")
	z.until("its time is not over", "1 2 3~ 4~ 5~", "stays", "waits")
	for _, pool := range zonePools {
		load.more(pool, z.plan.served)
	}
	z.askStaying()
	if now := []int{z.places.served(3), z.places.served(4), z.places.served(5)}; !slices.Equal(now, served) {
		z.t.Errorf("places that have vanished had %v sessions, and have had %v by now", served, now)
	}
	z.t.Logf("sessions at addresses that vanished were closed %v after the zone had changed", over)
	return load
}

// sets sets the state of a place in the pool that keeps what has vanished.
func (z *zoneRig) sets(place, state string) {
	z.t.Helper()
	backend := fmt.Sprintf("stays/127.0.77.%s:%d", place, z.places.port)
	output(z.t, exec.Command(sluiceProgram, "set", "--socket", z.socket, backend, "state="+state))
}

// placeGoes lets nobody in at a place any more, and waits until checks have noticed.
func (z *zoneRig) placeGoes(n int) {
	z.t.Helper()
	z.places.close(n)
	until(z.t, "the place is seen to be down", func() error {
		for _, p := range z.answer().Pools {
			for _, b := range p.Backends {
				if p.Name == "stays" && placeOf(b.Address) == fmt.Sprint(n) && b.Up {
					return fmt.Errorf("it is %+v", b)
				}
			}
		}
		return nil
	})
}

// expectClosed waits until the sessions of the pool closes end that are at places that have vanished, and checks that those
// were asked until their time was over. It returns how long that took since the zone has changed, which is more.
func (z *zoneRig) expectClosed(began time.Time) (took time.Duration) {
	z.t.Helper()
	gone := z.leave(func(g *caller) bool { return g.pool == "closes" && g.place >= 3 })
	if len(gone) < 3 {
		z.t.Fatalf("%d sessions are at places that have vanished, want 3", len(gone))
	}
	for _, g := range gone {
		g.askOn()
		if took = time.Since(began); took < z.plan.removeAfter {
			z.t.Errorf("a session at a place that has vanished ended %v after the zone had changed, want %v", took, z.plan.removeAfter)
		}
	}
	return took
}

// comeBack: what was known of addresses, and what was set, is known again where they have not been removed; elsewhere a server
// that does not answer gets nobody either.
func (z *zoneRig) comeBack(load *callers) {
	z.knot.Serve(zoneOf(0, 1, 3, 5, 4, 2)...)
	z.until("they come back", "1 2 3! 4! 5", "stays")
	z.until("they come back", "1 2 3! 4 5", "waits", "goes", "closes")
	for _, pool := range zonePools {
		load.more(pool, z.plan.served)
	}
	z.places.open(3)
	z.until("it answers again", "1 2 3 4! 5", "stays")
	z.until("it answers again", "1 2 3 4 5", "waits", "goes", "closes")
	z.sets("4", "ready")
	z.until("it is ready", "1 2 3 4 5", zonePools...)
	z.knot.Serve(zoneOf(86400, 4, 5, 1, 2)...)
	z.until("another one vanishes", "1 2 3~ 4 5", "stays", "waits")
}

// sayNothing: while the server says that it cannot answer everything stays; where a pool believes that there is nothing, its
// clients wait.
func (z *zoneRig) sayNothing(load *callers) {
	before := z.source().Generation
	z.knot.Lose()
	until(z.t, "the source has a problem", func() error {
		if now := z.source(); !strings.Contains(now.Problem, "SERVFAIL") {
			return fmt.Errorf("it is %+v", now)
		}
		return nil
	})
	for end := time.Now().Add(z.plan.outage); time.Now().Before(end); {
		for _, pool := range zonePools {
			load.more(pool, z.plan.served)
		}
		z.askStaying()
	}
	z.until("nobody knows", "1 2 3~ 4 5", "stays", "waits")
	z.until("nobody knows", "1 2 4 5", "goes", "closes")
	if now := z.source(); now.Generation != before {
		z.t.Errorf("an error is answer %+v, and before it was %d", now, before)
	}
	for _, nothing := range []string{"app.internal. 0 TXT nothing", "other.internal. 0 A 127.0.77.9"} { // NODATA, NXDOMAIN
		z.knot.Serve(nothing)
		z.until("an empty answer", "1~ 2~ 3~ 4~ 5~", "waits")
		z.untilWaiting("waits")
		z.until("an empty answer", "1 2 3~ 4 5", "stays")
		for _, pool := range []string{"stays", "goes", "closes"} {
			load.more(pool, z.plan.served)
		}
		z.askStaying()
		z.knot.Serve(zoneOf(0, 5, 4, 2, 1)...)
		z.until("there are some again", "1 2 3~ 4 5", "stays", "waits")
		load.more("waits", z.plan.served)
	}
}

// untilWaiting waits until a client of a pool waits.
func (f *foundRig) untilWaiting(pools ...string) {
	f.t.Helper()
	until(f.t, fmt.Sprintf("clients of %v wait", pools), func() error {
		for _, p := range f.answer().Pools {
			if slices.Contains(pools, p.Name) && p.Waiting == 0 {
				return fmt.Errorf("none of %s does", p.Name)
			}
		}
		return nil
	})
}

// growALot: from two addresses to two hundred, and back.
func (z *zoneRig) growALot(load *callers) {
	var many []int
	var want []string
	for n := range 200 {
		many, want = append(many, n+1), append(want, fmt.Sprint(n+1))
	}
	z.knot.Serve(zoneOf(0, many...)...)
	z.until("it grows", strings.Join(want, " "), zonePools...)
	for _, pool := range zonePools {
		load.more(pool, z.plan.served)
	}
	z.knot.Serve(zoneOf(0, 2, 1)...)
	z.until("it shrinks", "1 2", "goes", "closes")
	if got := strings.Count(z.answer().found("stays"), "~"); got != 198 {
		z.t.Errorf("%d backends have vanished, want 198", got)
	}
}

// source is what sluice says of the only one that there is.
func (z *zoneRig) source() sourceStatus {
	z.t.Helper()
	all := z.answer().Sources
	if len(all) != 1 {
		z.t.Fatalf("the sources are %+v, want one", all)
	}
	return all[0]
}

// endAll ends the sessions that have stayed, and checks how all have ended.
func (z *zoneRig) endAll() {
	t := z.t
	t.Helper()
	z.askStaying()
	for _, g := range z.stay {
		g.Close()
	}
	z.stay = nil
	z.expectExact()
	ends := make(map[string]int)
	for _, line := range z.sessions() {
		ends[strings.TrimPrefix(strings.TrimPrefix(line.Reason, "client_"), "server_")]++
		if line.Retries > 0 {
			t.Errorf("a session was sent on: %+v", line)
		}
	}
	delete(ends, "closed")
	if drained := ends["drained"]; drained < 3 || len(ends) != 1 {
		t.Errorf("sessions have ended with %v, want those of closes with drained", ends)
	}
}
