package e2e

import (
	"fmt"
	"strings"

	"sluice/sysutil/systest"
)

// connections counts what the kernel has of connections from sluice to each server. Others may come to a server that is not
// theirs: its port may have been that of another one, which somebody still asks.
func (r *reloadRig) connections() map[string]int {
	r.t.Helper()
	n, held := make(map[string]int), systest.Held(r.t, r.cmd.Process.Pid)
	for server, port := range r.servers {
		for _, s := range systest.Sockets(r.t, port) {
			if s.Far == port && s.State == systest.Established && held[s.Inode] {
				n[server]++
			}
		}
	}
	return n
}

// expectTruth checks that what sluice counts is what the kernel has: as many sessions as clients hold open, and at each
// backend as many connections as sluice says. Checks come and go.
func (r *reloadRig) expectTruth(sessions int) {
	r.t.Helper()
	until(r.t, "what sluice counts is what the kernel has", func() error {
		s, connections := r.answer(), r.connections()
		kernel, listeners := 0, 0
		for _, n := range connections {
			kernel += n
		}
		for _, l := range s.Listeners {
			listeners += l.Sessions
		}
		keep, keepKernel := s.backend(r.t, "k").Active, connections["kk"]
		if kernel != sessions || listeners != sessions || s.sessions() != sessions || keep != keepKernel {
			return fmt.Errorf("%d sessions by loop and %d by listener, the kernel has %d, want %d; at backend k %d and %d",
				s.sessions(), listeners, kernel, sessions, keep, keepKernel)
		}
		for _, p := range s.Pools {
			for _, b := range p.Backends {
				if b.Active > sessions {
					return fmt.Errorf("backend %s/%s has %d active", p.Name, b.Name, b.Active)
				}
			}
		}
		return nil
	})
}

// sessions is the number of all that there are.
func (s status) sessions() (n int) {
	for _, l := range s.Loops {
		n += l.Sessions
	}
	return n
}

// A footprint is what a process takes. Pipes that are kept for the next stream do not count.
type footprint struct {
	descriptors, goroutines int
	resident                uint64 // bytes
}

func (f footprint) String() string {
	return fmt.Sprintf("%d descriptors, %d goroutines, %.1f MiB resident", f.descriptors, f.goroutines, float64(f.resident)/(1<<20))
}

func (r *reloadRig) footprint() footprint {
	r.t.Helper()
	metrics := r.metrics()
	return footprint{
		descriptors: r.descriptors(), goroutines: int(metrics["go_goroutines"]),
		resident: uint64(metrics["process_resident_memory_bytes"]),
	}
}

// expectSame checks that a process has not grown. Its memory may be more by what the garbage collector happens to leave.
func (f footprint) expectSame(r *reloadRig, after footprint) {
	r.t.Helper()
	until(r.t, "sluice has no more descriptors and goroutines than before", func() error {
		// A check holds one for a moment; so does each question.
		if now := r.footprint(); now.descriptors > f.descriptors || now.goroutines > f.goroutines {
			return fmt.Errorf("it has %v, and had %v", now, f)
		}
		return nil
	})
	if most := f.resident + f.resident/4 + 8<<20; after.resident > most {
		r.t.Errorf("resident memory has grown from %v to %v", f, after)
	}
}

// expectNothingLeft checks that all sessions have ended, that each was logged once, and that none has failed.
func (r *reloadRig) expectNothingLeft() {
	r.t.Helper()
	until(r.t, "all sessions end", func() error { return r.answer().idle() })
	r.reload(r.expand(reloadConfigs[0]))
	for _, l := range r.answer().Listeners {
		if l.Leaving {
			r.t.Errorf("listener %s is there, and has %d sessions", l.Name, l.Sessions)
		}
	}
	until(r.t, "sluice has no connections to servers", func() error {
		if n := r.connections(); len(n) != 0 {
			return fmt.Errorf("there are %v", n)
		}
		return nil
	})
	want := r.load.served.Load() + uint64(len(r.long))
	until(r.t, "each session is logged", func() error {
		n := uint64(r.metrics()["sluice_log_lines_dropped_total"])
		for _, line := range r.sessions() {
			if !strings.HasSuffix(line.Reason, "_closed") {
				r.t.Fatalf("a session has ended with %s: %+v", line.Reason, line)
			}
			n++
		}
		if n != want {
			return fmt.Errorf("%d are logged or dropped, want %d", n, want)
		}
		return nil
	})
	if r.load.absent.Load() == 0 {
		r.t.Error("no address was gone when a client came")
	}
}
