package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// A shortLoad is clients that connect, ask, are answered and go.
type shortLoad struct {
	served  atomic.Int64
	slowest atomic.Int64 // nanoseconds
}

// startShort starts one at each kind of listener.
func (r *upgradesRig) startShort(l *upgradesLoad) *shortLoad {
	s := new(shortLoad)
	for _, k := range []struct{ kind, address string }{
		{"tcp", r.values["t0"]}, {"unix", filepath.Join(r.dir, "short.sock")}, {"told", r.values["t1"]}, {"tls", r.values["t2"]},
	} {
		l.all.Go(func() {
			for id := uint32(2); l.rest(20 * time.Millisecond); id += 2 {
				began := time.Now()
				one, err := r.beginTalk(k.kind, k.address, id%10_000, nil)
				if err == nil {
					err = one.leave()
				}
				if err != nil {
					l.t.Errorf("a short session at %s: %v", k.kind, err)
					return
				}
				s.served.Add(1)
				if took := int64(time.Since(began)); took > s.slowest.Load() {
					s.slowest.Store(took) // another one may be lost, which is as slow
				}
			}
		})
	}
	return s
}

// A reloading is how often the configuration was read again.
type reloading struct{ done, refused atomic.Int64 }

// startReloading lets sluice read its configuration again and again. While an upgrade is under way it does not: then it is
// asked again.
func (r *upgradesRig) startReloading(l *upgradesLoad) *reloading {
	n := new(reloading)
	l.all.Go(func() {
		for turn := 1; l.rest(300 * time.Millisecond); turn++ {
			if err := r.reloadOnce(l, n, turn); err != nil {
				l.t.Error(err)
				return
			}
		}
	})
	return n
}

func (r *upgradesRig) reloadOnce(l *upgradesLoad, n *reloading, turn int) error {
	next := r.config + ".next"
	if err := errors.Join(os.WriteFile(next, []byte(r.expand(turn)), 0o644), os.Rename(next, r.config)); err != nil {
		return err
	}
	for {
		out, err := r.command("reload").CombinedOutput()
		if err == nil {
			n.done.Add(1)
			return nil
		}
		if !askAgain(string(out)) {
			return fmt.Errorf("sluice reload: %w\n%s", err, out)
		}
		if n.refused.Add(1); !l.rest(20 * time.Millisecond) {
			return nil
		}
	}
}

// askAgain reports whether a refusal says that the same is to be asked again.
func askAgain(text string) bool {
	return strings.Contains(text, "an upgrade is under way") || strings.Contains(text, "another process has taken over")
}

// benchSeconds is how long a run of pgbench takes: the next one logs in again.
const benchSeconds = "3"

// startBenches lets pgbench work all the time, in clear and with TLS that sluice passes through.
func (r *upgradesRig) startBenches(l *upgradesLoad) *atomic.Int64 {
	done := new(atomic.Int64)
	for _, login := range []pgLogin{{sslmode: "disable"}, {sslmode: "verify-full", host: firstName, database: "app1"}} {
		l.all.Go(func() {
			for l.rest(0) {
				run := &pgbench{cmd: r.pg.command(r.values["pg"], login, "pgbench", "-n", "-c", fmt.Sprint(r.plan.bench), "-j", "2",
					"-R", "50", "-T", benchSeconds)}
				run.cmd.Stdout, run.cmd.Stderr = &run.out, &run.out
				err := run.cmd.Run()
				if err = run.processedWell(err); err != nil {
					l.t.Errorf("%v: %v", login, err)
					return
				}
				done.Add(int64(run.processed))
			}
		})
	}
	return done
}

// expectTransactions checks that the server has all that were done.
func (r *upgradesRig) expectTransactions(want int64) {
	r.t.Helper()
	var got int64
	for _, database := range []string{"postgres", "app1"} {
		var n int64
		text, err := r.pg.psql(r.pg.first.address(), pgLogin{database: database}, "select count(*) from pgbench_history")
		if _, scan := fmt.Sscan(text, &n); err != nil || scan != nil {
			r.t.Fatalf("count transactions: %q, %v", text, errors.Join(err, scan))
		}
		got += n
	}
	if got != want || want == 0 {
		r.t.Errorf("pgbench has done %d transactions, the server %d", want, got)
	}
}
