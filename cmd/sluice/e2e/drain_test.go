package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sluice/sysutil/systest"
)

// SIGTERM in the middle of a benchmark: sluice says that it is about to end and serves as before; once the delay is over,
// here by one more signal, nobody new is let in, the benchmark goes on to its end, and then sluice exits.
func TestDrain(t *testing.T) {
	t.Parallel()
	p := startPostgres(t)
	r := startSluice(t, "shutdown: {delay: 1h}\n"+fmt.Sprintf(databaseConfig, p.port))
	address := r.address("db")
	output(t, pgCommand(t, address, "pgbench", "-i", "-q"))
	bench := startPgbench(t, address, "-c", "16", "-T", "5")
	expectClients(t, r, p, 16)
	r.signal(syscall.SIGTERM)
	until(t, "sluice leaves", func() error {
		if !r.status().Draining {
			return errors.New("status does not say so")
		}
		return nil
	})
	if code, text := r.get("/readyz"); code != http.StatusServiceUnavailable || !strings.HasPrefix(text, "draining") {
		t.Errorf("/readyz answers %d %q while sluice drains", code, text)
	}
	if code, text := r.get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz answers %d %q while sluice drains", code, text)
	}
	expectClients(t, r, p, 16)
	if n := psql(t, address, "disable", "select 1"); n != "1" {
		t.Errorf("a new session while sluice leaves: %q", n)
	}
	accepts := r.status().accepts()
	r.signal(syscall.SIGTERM)
	expectRefused(t, r.admin)
	until(t, "nobody listens", func() error { // and nobody connects to find out: each session is counted
		if systest.Listening(t, portOf(t, address)) {
			return fmt.Errorf("%s still accepts", address)
		}
		return nil
	})
	bench.finish(t)
	if n := psql(t, p.address(), "disable", "select count(*) from pgbench_history"); n != strconv.Itoa(bench.processed) {
		t.Errorf("pgbench processed %d transactions, the server has %s of them", bench.processed, n)
	}
	if err := r.wait(); err != nil {
		t.Errorf("sluice ended with %v, want exit status 0", err)
	}
	r.expectLoggedEnds(accepts)
	if _, err := os.Stat(r.socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the control socket is left behind (%v)", err)
	}
}

// Clients that wait at the limit of sessions when SIGTERM comes have been accepted by the kernel, and their requests are
// on this side: they are served, by a process without any capability as well.
func TestDrainServesTheBacklog(t *testing.T) {
	t.Parallel()
	const most, crowd = 2, 25
	e := startCountedEcho(t)
	r := startSluiceBy(t, fmt.Sprintf(limitedConfig, most, e.address()), "setpriv", "--bounding-set=-all", "--inh-caps=-all")
	address := r.address("limited")
	open := []net.Conn{served(t, "127.0.0.1", address, ""), served(t, "127.0.0.1", address, "")}
	var waiting []net.Conn
	for range crowd {
		waiting = append(waiting, dialFrom(t, "127.0.0.1", address, "w"))
	}
	r.expectAtLimit("limited", most)
	r.signal(syscall.SIGTERM)
	for _, c := range waiting {
		expectByte(t, c, "w")
	}
	for _, c := range open {
		expectEcho(t, c)
	}
	for _, c := range append(waiting, open...) {
		c.Close()
	}
	if err := r.wait(); err != nil {
		t.Errorf("sluice ended with %v, want exit status 0", err)
	}
	r.expectLoggedEnds(most + crowd)
}

// expectLoggedEnds checks the log of a sluice that has ended: n sessions, each of which ended cleanly.
func (r *rig) expectLoggedEnds(n uint64) {
	r.t.Helper()
	sessions := r.sessions()
	if uint64(len(sessions)) != n {
		r.t.Errorf("%d sessions are logged, want %d", len(sessions), n)
	}
	for _, s := range sessions {
		if s.Reason != "client_closed" && s.Reason != "server_closed" {
			r.t.Errorf("a session ended with %s: %+v", s.Reason, s)
		}
	}
}

// expectRefused waits until nobody listens at an address.
func expectRefused(t *testing.T, address string) {
	t.Helper()
	until(t, "connects are refused", func() error {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return fmt.Errorf("%s still accepts", address)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
		return nil
	})
}
