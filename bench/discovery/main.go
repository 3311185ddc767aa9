// Command discovery measures what a source costs that has 10,000 backends in its answer and another one every second: the
// processor time of sluice, and the round trips of one session with 64 bytes beside it, without and with changes in turn.
//
// The source is a file in JSON. A message of DNS has room for 4,000 addresses.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os"
	"runtime"
	"time"

	"sluice/bench/load"
	"sluice/bench/proc"
)

func main() {
	runtime.LockOSThread() // the child gets Pdeathsig when the thread that started it ends
	log.SetFlags(0)
	rounds := flag.Int("rounds", 3, "rounds of quiet time and changes")
	duration := flag.Duration("d", 10*time.Second, "each part of a round")
	backends := flag.Int("backends", 10_000, "in the answer")
	program := flag.String("sluice", "", "the program; empty: it is built")
	flag.Parse()
	if err := measure(*program, *rounds, *backends, *duration); err != nil {
		log.Fatal(err)
	}
}

func measure(program string, rounds, backends int, d time.Duration) error {
	dir, err := os.MkdirTemp("", "sluice-discovery-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	backend, err := load.StartBackend(load.BackendConfig{Listen: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:0")}})
	if err != nil {
		return err
	}
	defer backend.Close()
	b, err := startBed(program, dir, backend.Addrs()[0].Port(), backends)
	if err != nil {
		return err
	}
	defer b.Stop()
	fmt.Printf("%d backends in a file, every second another one; a session of 64 B request and reply, in a part of its own\n", backends)
	fmt.Println("| round | | changes | CPU of a core | trips | p50 | p99.9 | max |\n|---|---|---|---|---|---|---|---|")
	for round := range rounds {
		for _, changing := range []bool{false, true} {
			if err := b.row(round+1, changing, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// row measures one half of a round: sluice alone, and then a session.
func (b *bed) row(round int, changing bool, d time.Duration) error {
	what, before, began := "quiet", b.changes, time.Now()
	if changing {
		what = "changes"
	}
	stop := b.change(changing)
	used, err := b.used(d)
	spent := time.Since(began)
	var report *load.Report
	if err == nil {
		report, err = load.Run(context.Background(), load.Plan{Target: b.Target, Warmup: 200 * time.Millisecond, Duration: d,
			Flows: []load.Flow{{Work: load.Exchange, Sessions: 1, Size: 64}}})
	}
	if failed := stop(); err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	h := &report.Flows[0].Latency
	fmt.Printf("| %d | %s | %d | %.2f %% | %d | %v | %v | %v |\n", round, what, b.changes-before, 100*used.Seconds()/spent.Seconds(),
		h.Count(), h.Quantile(0.5), h.Quantile(0.999), h.Quantile(1))
	return nil
}

// used returns the processor time that sluice takes in a time.
func (b *bed) used(d time.Duration) (time.Duration, error) {
	pids := []int{b.PID()}
	before, err := proc.CPUTime(pids)
	if err != nil {
		return 0, err
	}
	time.Sleep(d)
	after, err := proc.CPUTime(pids)
	return after.Since(before), err
}
