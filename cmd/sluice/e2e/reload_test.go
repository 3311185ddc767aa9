package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/sysutil/systest"
)

// A reloadPlan is how much is reloaded, and beside how much.
type reloadPlan struct {
	reloads int           // each is followed by a wrong one when it has an odd number
	long    int           // sessions that are there all the time
	pace    time.Duration // from one reload to the next; 0: as soon as it is in force
}

// reloadPlanOf returns the plan of the variable SLUICE_RELOADS: "full" is that of make reloads.
func reloadPlanOf(t *testing.T) reloadPlan {
	switch how := os.Getenv("SLUICE_RELOADS"); how {
	case "":
		return reloadPlan{reloads: 48, long: 200}
	case "full":
		return reloadPlan{reloads: 200, long: 1000, pace: 300 * time.Millisecond}
	default:
		t.Fatalf("SLUICE_RELOADS=%s: want full, or nothing", how)
		return reloadPlan{}
	}
}

// Reloads add, remove, rename and reorder pools, backends, listeners, routes and lists, and wrong ones in between do
// nothing but say what is wrong. Clients at addresses that stay do not notice: neither those who come and go nor those
// who are there all the time. At an address that is gone, whoever is connected is served. In the end nothing is left of it
// all, and what sluice counts is what the kernel has.
func TestReloads(t *testing.T) {
	t.Parallel()
	plan := reloadPlanOf(t)
	r := startReloads(t)
	r.openLong(plan.long)
	stop := r.startLoad()
	for i := 1; i <= len(reloadConfigs); i++ {
		r.reload(r.expand(reloadConfigs[i%len(reloadConfigs)]))
	}
	stop()
	r.expectTruth(plan.long)
	before := r.footprint()
	stop = r.startLoad()
	began := time.Now()
	var pace <-chan time.Time
	if plan.pace > 0 {
		ticker := time.NewTicker(plan.pace)
		defer ticker.Stop()
		pace = ticker.C
	}
	for i := 1; i <= plan.reloads; i++ {
		next := r.expand(reloadConfigs[i%len(reloadConfigs)])
		if i%2 == 1 {
			r.reloadWrongly(next, wrongConfigs[i/2%len(wrongConfigs)])
		}
		r.reload(next)
		r.askLong(i, 5)
		if pace != nil {
			<-pace
		}
	}
	took := time.Since(began)
	stop()
	r.reload(r.expand(reloadConfigs[0]))
	r.expectTruth(plan.long)
	after := r.footprint()
	showTable(t, "Reloads", fmt.Sprintf("%d reloads, %d wrong ones in between, in %v: %s, %d long sessions\nbefore %v\nafter  %v",
		plan.reloads, (plan.reloads+1)/2, took.Round(time.Millisecond), r.load.String(), plan.long, before, after))
	before.expectSame(r, after)
	r.closeLong()
	r.expectNothingLeft()
}

// A reloadRig is a sluice whose configuration changes, between servers that say who they are and clients that ask them.
type reloadRig struct {
	*rig
	file    string
	values  map[string]string // of $NAMES in configurations
	servers map[string]int    // port by name
	clients reloadClients
	long    []longSession
	load    reloadLoad
	wrong   atomic.Uint64 // how many wrong reloads have begun, and ended
}

func startReloads(t *testing.T) *reloadRig {
	t.Helper()
	r := &reloadRig{values: make(map[string]string), servers: make(map[string]int)}
	r.startServers(t)
	dir := tempDir(t)
	for _, name := range []string{"t0", "t1", "k", "s", "c0", "c1"} {
		r.values[name] = fmt.Sprintf("127.0.0.1:%d", systest.ReservePort(t))
	}
	for _, name := range []string{"u0", "cu"} {
		r.values[name] = "unix:" + filepath.Join(dir, name)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	r.values["taken"] = taken.Addr().String()
	r.rig = startSluice(t, r.expand(reloadConfigs[0]))
	r.changing, r.mayLog = true, "reload failed"
	r.file = r.config
	return r
}

// expand puts addresses into a configuration.
func (r *reloadRig) expand(config string) string {
	return os.Expand(config, func(name string) string { return r.values[name] })
}

// tellReload lets sluice read a configuration, and returns how that went when it is over.
func (r *reloadRig) tellReload(config string) (before, after status) {
	r.t.Helper()
	before = r.answer()
	next := r.file + ".next"
	writeFile(r.t, next, rigHead+config)
	if err := os.Rename(next, r.file); err != nil {
		r.t.Fatal(err)
	}
	r.signal(syscall.SIGHUP)
	until(r.t, "the configuration is read again", func() error {
		if after = r.answer(); after.Generation.LastReload.At.Equal(before.Generation.LastReload.At) {
			return errors.New("it is not")
		}
		return nil
	})
	return before, after
}

func (r *reloadRig) reload(config string) {
	r.t.Helper()
	before, after := r.tellReload(config)
	if !after.Generation.LastReload.OK || after.Generation.Number != before.Generation.Number+1 {
		r.t.Fatalf("a reload in generation %d: %+v\n%s", before.Generation.Number, after.Generation, config)
	}
}

// A wrongConfig is how a configuration becomes wrong, and what is said of it.
type wrongConfig struct{ old, new, says string }

// reloadWrongly reloads what would be right but for one thing.
func (r *reloadRig) reloadWrongly(config string, wrong wrongConfig) {
	r.t.Helper()
	bad := strings.Replace(config, wrong.old, r.expand(wrong.new), 1)
	if bad == config {
		r.t.Fatalf("%q is not in the configuration:\n%s", wrong.old, config)
	}
	r.wrong.Add(1)
	before, after := r.tellReload(bad)
	r.wrong.Add(1)
	if last := after.Generation.LastReload; last.OK || !strings.Contains(last.Error, wrong.says) {
		r.t.Fatalf("a wrong reload: %+v, want the error %q", last, wrong.says)
	}
	if after.Generation.Number != before.Generation.Number || !slices.Equal(after.names(), before.names()) {
		r.t.Fatalf("a wrong reload changes %v to %v", before.names(), after.names())
	}
}

// names lists what is configured.
func (s status) names() (list []string) {
	for _, l := range s.Listeners {
		if !l.Leaving {
			list = append(list, fmt.Sprintf("listener %s at %v", l.Name, l.Addresses))
		}
	}
	for _, p := range s.Pools {
		for _, b := range p.Backends {
			list = append(list, fmt.Sprintf("backend %s/%s", p.Name, b.Name))
		}
	}
	return list
}
