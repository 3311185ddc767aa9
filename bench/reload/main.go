// Command reload measures what reloads of a big configuration, 10,000 backends in 500 pools, cost the sessions beside
// them: how long a reload takes, and the round trips of one session with 64 bytes, without and with reloads in turn.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"time"

	"sluice/bench/load"
	"sluice/bench/subject"
)

const (
	pools        = 500
	poolBackends = 20
)

func main() {
	runtime.LockOSThread() // the child gets Pdeathsig when the thread that started it ends
	log.SetFlags(0)
	rounds := flag.Int("rounds", 4, "rounds of quiet time and reloads")
	duration := flag.Duration("d", 5*time.Second, "each half of a round")
	program := flag.String("sluice", "", "the program; empty: it is built")
	flag.Parse()
	if err := measure(*program, *rounds, *duration); err != nil {
		log.Fatal(err)
	}
}

// A bed is a sluice that is told to reload.
type bed struct {
	*subject.Sluice
	texts    [2]string
	next     int
	reloaded chan string // lines of its log that say how a reload went
}

func measure(program string, rounds int, d time.Duration) error {
	dir, err := os.MkdirTemp("", "sluice-reload-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	backend, err := load.StartBackend(load.BackendConfig{Listen: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:0")}})
	if err != nil {
		return err
	}
	defer backend.Close()
	b, err := startBed(program, dir, backend.Addrs()[0])
	if err != nil {
		return err
	}
	defer b.Stop()
	fmt.Printf("%d backends in %d pools; a session of 64 B request and reply\n", pools*poolBackends, pools)
	fmt.Println("| round | | trips | p50 | p99 | p99.9 | max | reloads | slowest reload |\n|---|---|---|---|---|---|---|---|---|")
	for round := range rounds {
		for _, reloading := range []bool{false, true} {
			if err := b.row(round+1, reloading, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// row measures one half of a round.
func (b *bed) row(round int, reloading bool, d time.Duration) error {
	plan := load.Plan{Target: b.Target, Warmup: 200 * time.Millisecond, Duration: d,
		Flows: []load.Flow{{Work: load.Exchange, Sessions: 1, Size: 64}}}
	stop, done := make(chan struct{}), make(chan struct{})
	var took []time.Duration
	var failed error
	go func() {
		defer close(done)
		if reloading {
			took, failed = b.reloadUntil(stop)
		}
	}()
	report, err := load.Run(context.Background(), plan)
	close(stop)
	<-done
	if err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	what, slowest := "quiet", time.Duration(0)
	if reloading {
		what = "reloads"
	}
	for _, t := range took {
		slowest = max(slowest, t)
	}
	h := &report.Flows[0].Latency
	fmt.Printf("| %d | %s | %d | %v | %v | %v | %v | %d | %v |\n", round, what, h.Count(), h.Quantile(0.5), h.Quantile(0.99),
		h.Quantile(0.999), h.Quantile(1), len(took), slowest.Round(time.Millisecond))
	return nil
}

// reloadPace is from one reload to the next.
const reloadPace = time.Second

// reloadUntil reloads again and again, and says how long each took.
func (b *bed) reloadUntil(stop chan struct{}) (took []time.Duration, err error) {
	pace := time.NewTicker(reloadPace)
	defer pace.Stop()
	for {
		t, err := b.reload()
		if err != nil {
			return took, err
		}
		took = append(took, t)
		select {
		case <-stop:
			return took, nil
		case <-pace.C:
		}
	}
}

// reload puts the other configuration in force.
func (b *bed) reload() (time.Duration, error) {
	b.next = 1 - b.next
	if err := os.WriteFile(b.Config, []byte(b.texts[b.next]), 0o600); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := b.Reload(); err != nil {
		return 0, err
	}
	if line := <-b.reloaded; !strings.Contains(line, "msg=reloaded") {
		return 0, fmt.Errorf("sluice says: %s", line)
	}
	return time.Since(began), nil
}

func startBed(program, dir string, backend netip.AddrPort) (*bed, error) {
	b := &bed{reloaded: make(chan string, 1)}
	for i := range b.texts {
		b.texts[i] = config(i, backend)
	}
	var err error
	b.Sluice, err = subject.Start(program, dir, b.texts[0], b.hear)
	return b, err
}

// hear notes how reloads go.
func (b *bed) hear(line string) {
	if strings.Contains(line, "msg=reloaded ") || strings.Contains(line, `msg="reload failed`) {
		b.reloaded <- line
	}
}

// config is one of two configurations, in which every backend has another weight. All are the same server, at addresses of
// their own. They are checked, once.
func config(i int, backend netip.AddrPort) string {
	var text strings.Builder
	fmt.Fprintf(&text, "log: {level: info}\nlisteners:\n  ping: {bind: \"127.0.0.1:0\", pool: ping}\npools:\n")
	fmt.Fprintf(&text, "  ping: {check: {type: \"off\"}, backends: [{name: ping, address: \"127.0.0.1:%d\"}]}\n", backend.Port())
	for p := range pools {
		fmt.Fprintf(&text, "  p%d:\n    retries: %d\n    check: {interval: 1h}\n    backends:\n", p, 1+i)
		for b := range poolBackends {
			n := p*poolBackends + b
			fmt.Fprintf(&text, "      - {name: b%d, address: \"127.1.%d.%d:%d\", weight: %d}\n", b, n/250, n%250+1, backend.Port(),
				1+(n+i)%5)
		}
	}
	return text.String()
}
