package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// A rig is a running sluice. When the test is over, and sluice still runs, the rig checks its counters and ends it.
type rig struct {
	*process
	socket string
	config string // path of the configuration
	admin  string // address of the TCP side of the admin API
	mayLog string // how an error that the test provokes begins; "" = it provokes none
	// The test reloads: what was counted of listeners and backends that are gone is no more, and the test itself checks
	// that all sessions have ended well.
	changing bool
}

// rigHead is how every configuration begins.
const rigHead = "log: {format: json, sessions: all}\n"

// startSluice runs sluice with a configuration. What it says of admin and log is set by the rig.
func startSluice(t *testing.T, config string) *rig {
	t.Helper()
	return startSluiceBy(t, config)
}

// startSluiceBy is startSluice by a command that ends in becoming the program that its further arguments name.
func startSluiceBy(t *testing.T, config string, by ...string) *rig {
	t.Helper()
	dir := tempDir(t)
	file, socket := filepath.Join(dir, "sluice.yaml"), filepath.Join(dir, "sluice.sock")
	writeFile(t, file, rigHead+config)
	args := append(slices.Clone(by), sluiceProgram, "run", "-c", file, "--admin", "127.0.0.1:0", "--socket", socket)
	cmd := exec.Command(args[0], args[1:]...)
	r := &rig{process: start(t, "sluice", dir, cmd), socket: socket, config: file}
	until(t, "sluice is ready", func() error {
		if !r.running() {
			t.Fatalf("sluice has ended: %v\n%s", r.err, readFile(t, r.log))
		}
		lines := r.logLines()
		i := slices.IndexFunc(lines, func(l logLine) bool { return l.Msg == "ready" })
		if i < 0 {
			return errors.New("its log does not say so")
		}
		r.admin = lines[i].Admin
		return nil
	})
	t.Cleanup(r.finish)
	return r
}

// finish checks what every test must leave behind, and that sluice ends as it should.
func (r *rig) finish() {
	if !r.running() { // the test has ended it, or it has crashed
		if r.err != nil {
			r.t.Errorf("sluice ended with %v, want exit status 0", r.err)
		}
		return
	}
	refused, well := uint64(0), !r.t.Failed()
	if well && !r.changing { // otherwise clients may be left, and what was wrong first is known
		r.checkCounters()
		refused = r.status().refused()
	}
	r.signal(syscall.SIGTERM)
	if err := r.wait(); err != nil {
		r.t.Errorf("sluice ended with %v, want exit status 0", err)
	}
	if well && !r.changing {
		r.checkRefused(refused)
	}
}

// status asks sluice with its own command.
func (r *rig) status() (s status) {
	r.t.Helper()
	out := output(r.t, exec.Command(sluiceProgram, "status", "--json", "--socket", r.socket))
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		r.t.Fatalf("sluice status --json: %v\n%s", err, out)
	}
	return s
}

// address is where a listener listens, the first place if there are more.
func (r *rig) address(listener string) string {
	r.t.Helper()
	return r.addresses(listener)[0]
}

func (r *rig) addresses(listener string) []string {
	r.t.Helper()
	for _, l := range r.status().Listeners {
		if l.Name == listener {
			return l.Addresses
		}
	}
	r.t.Fatalf("sluice has no listener %q", listener)
	return nil
}

// expectEnds waits until as many sessions have ended for each reason as are wanted, and none for another.
func (r *rig) expectEnds(want map[string]uint64) {
	r.t.Helper()
	r.untilEnds(fmt.Sprint(want), func(got map[string]uint64) bool { return maps.Equal(got, want) })
}

// expectClean waits until n sessions have ended, all of them because both peers were done. Which of them was done first
// is often not for the test to say.
func (r *rig) expectClean(n uint64) {
	r.t.Helper()
	r.untilEnds(fmt.Sprintf("%d clean ends", n), func(got map[string]uint64) bool {
		clean := got["client_closed"] + got["server_closed"]
		delete(got, "client_closed")
		delete(got, "server_closed")
		return clean == n && len(got) == 0
	})
}

// untilEnds waits until the numbers of sessions that ended, by reason, are what they should be.
func (r *rig) untilEnds(what string, right func(map[string]uint64) bool) {
	r.t.Helper()
	until(r.t, "sessions end with "+what, func() error {
		s := r.status()
		got := make(map[string]uint64)
		for _, e := range s.Ended {
			got[e.Reason] += e.Count
		}
		if !right(got) {
			return fmt.Errorf("they end with %+v", s.Ended)
		}
		return nil
	})
}

// untilUsable waits until a backend may, or may not, be given sessions.
func (r *rig) untilUsable(backend string, usable bool) {
	r.t.Helper()
	until(r.t, fmt.Sprintf("backend %s is usable: %t", backend, usable), func() error {
		if b := r.status().backend(r.t, backend); b.Usable != usable {
			return fmt.Errorf("it is %+v", b)
		}
		return nil
	})
}

// descriptors is the number of descriptors that sluice holds. Empty pipes that it keeps for the next stream are not
// counted: they belong to no session, and their number is bounded.
func (r *rig) descriptors() int {
	r.t.Helper()
	pipes := r.status().Pipes.Open
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.cmd.Process.Pid))
	if err != nil {
		r.t.Fatal(err)
	}
	return len(files) - 2*pipes
}
