package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	silentClients = 5000
	// silentBefore is how many there are before memory is looked at: a process takes some of it once.
	silentBefore = 1000
	// silentMost is what a client that never says a word may cost, in bytes.
	silentMost = 1 << 10
)

// silentConfig has a listener for each kind of word that sluice waits for. The times are for a reader to set.
const silentConfig = `
listeners:
  tls:
    bind: "127.0.0.1:0"
    protocol: tls
    routes: [{sni: [silent.test], pool: tls}]
    timeouts: {peek: TIMEOUT}
  tlspool:
    bind: "127.0.0.1:0"
    protocol: tls
    routes: [{sni: [silent.test], pool: tls}]
    pool: greeter
    timeouts: {peek: TIMEOUT}
  pgnames:
    bind: "127.0.0.1:0"
    protocol: postgres
    routes: [{sni: [silent.test], pool: pg}, {database: [postgres], pool: pg}]
    timeouts: {peek: TIMEOUT}
  pg:
    bind: "127.0.0.1:0"
    protocol: postgres
    pool: pg
    timeouts: {peek: TIMEOUT}
  told:
    bind: "127.0.0.1:0"
    accept_proxy: {from: [127.0.0.1], timeout: TIMEOUT}
    pool: echo
  toldtls:
    bind: "127.0.0.1:0"
    protocol: tls
    accept_proxy: {from: [127.0.0.1], timeout: TIMEOUT}
    routes: [{sni: [silent.test], pool: tls}]
    timeouts: {peek: TIMEOUT}
pools:
  tls: {check: {type: off}, backends: [{name: tls, address: "TLS"}]}
  pg: {check: {type: off}, backends: [{name: pg, address: "PG"}]}
  echo: {check: {type: off}, backends: [{name: echo, address: "ECHO"}]}
  greeter: {check: {type: off}, backends: [{name: greeter, address: "GREETER"}]}
`

// silentRig is a sluice in front of servers that are part of the test.
type silentRig struct {
	*rig
	authority *authority // clients trust it
}

func startSilent(t *testing.T, timeout string) *silentRig {
	t.Helper()
	s := &silentRig{authority: newAuthority(t)}
	s.rig = startSluice(t, strings.NewReplacer("TIMEOUT", timeout, "TLS", startSilentTLS(t, s.authority),
		"PG", startFakePostgres(t), "ECHO", startCountedEcho(t).address(),
		"GREETER", startGreeter(t)).Replace(silentConfig))
	return s
}

// Clients that connect and never say a word cost sluice next to nothing, and others are served meanwhile.
func TestSilentMemory(t *testing.T) {
	t.Parallel()
	f := func(listener string, works func(*testing.T, *silentRig, string)) {
		t.Helper()
		t.Run(listener, func(t *testing.T) {
			r := startSilent(t, "10m")
			address := r.address(listener)
			works(t, r, address)
			r.silence(listener, silentBefore)
			works(t, r, address)
			r.untilSilent(listener, silentBefore)
			before := r.resident()
			r.silence(listener, silentClients)
			each := (r.resident() - before) / silentClients
			works(t, r, address)
			if each > silentMost {
				t.Errorf("a client that is silent costs %d bytes, want at most %d", each, silentMost)
			}
			t.Logf("a client that is silent costs %d bytes", each)
		})
	}
	f("tls", silentTLSWorks)
	f("pgnames", fakePostgresWorks)
	f("pg", fakePostgresWorks)
	f("told", func(t *testing.T, _ *silentRig, address string) {
		served(t, "127.0.0.1", address, header("192.0.2.1")).Close()
	})
}

// silence opens connections on which nothing happens, and waits until sluice has taken all of them. They are cut when
// the test is over.
func (s *silentRig) silence(listener string, n int) {
	s.t.Helper()
	address, before := s.address(listener), s.limits().listener(s.t, listener).Sessions
	for range n {
		c, err := net.Dial("tcp", address)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { c.Close() })
		if err := c.(*net.TCPConn).SetLinger(0); err != nil { // no TIME_WAIT: there are many
			s.t.Fatal(err)
		}
	}
	s.untilSilent(listener, before+n)
}

// untilSilent waits until a listener has as many sessions as there are silent connections.
func (s *silentRig) untilSilent(listener string, want int) {
	s.t.Helper()
	until(s.t, fmt.Sprintf("%d sessions are open", want), func() error {
		if got := s.limits().listener(s.t, listener).Sessions; got != want {
			return fmt.Errorf("there are %d", got)
		}
		return nil
	})
}

// resident is the memory that sluice has, in bytes.
func (s *silentRig) resident() int {
	s.t.Helper()
	for line := range strings.Lines(readFile(s.t, fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				s.t.Fatal(err)
			}
			return n << 10
		}
	}
	s.t.Fatal("the kernel does not say how much memory sluice has")
	return 0
}

// Clients that never say a word, or stop in the middle of one, are let go when their time is over. Where there is a
// pool for those who do not speak TLS, they are served.
func TestSilentTimeout(t *testing.T) {
	t.Parallel()
	const clients = 10
	r := startSilent(t, "3s")          // enough for what is sent at once to come at once
	wants := make(map[net.Conn]string) // what each client gets before the end
	f := func(listener, want string, words ...string) {
		t.Helper()
		address := r.address(listener)
		for i := range clients {
			wants[dialFrom(t, "127.0.0.1", address, words[i%len(words)])] = want
		}
	}
	f("tls", "", "", "\x16", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
	f("pgnames", "", "", "\x00", pgStartup("postgres", "postgres")[:20], pgSSLRequest[:4])
	f("pgnames", "S", pgSSLRequest)
	f("pgnames", "N", pgGSSRequest)
	f("pg", "", "", "\x00", pgStartup("postgres", "postgres")[:20])
	f("toldtls", "", header("192.0.2.1"), header("192.0.2.1")+"\x16\x03")
	f("told", "", "", "PROXY ", "\r\n\r\n\x00\r\nQUIT\n\x21")
	f("toldtls", "", "", "PROXY TCP4")
	f("tlspool", greeting, "")
	for c, want := range wants {
		data, err := io.ReadAll(c)
		alert := len(data) == 7 && data[0] == 0x15 // of TLS: a client that has begun to speak it is told so
		if string(data) != want && !alert || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a silent client got %q, %v; want %q, and the end", data, err, want)
		}
		c.Close()
	}
	r.untilEnds("hello_timeout and header_timeout", func(got map[string]uint64) bool {
		clean := got["client_closed"] + got["server_closed"]
		return got["hello_timeout"] == 6*clients && got["header_timeout"] == 2*clients && clean == clients && len(got) <= 4
	})
	silentTLSWorks(t, r, r.address("tls"))
	fakePostgresWorks(t, r, r.address("pgnames"))
	fakePostgresWorks(t, r, r.address("pg"))
}

// fakePostgresWorks logs in as a client of Postgres does.
func fakePostgresWorks(t *testing.T, _ *silentRig, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	c, err := pgconn.Connect(ctx, clientConninfo(address, "disable"))
	if err != nil {
		t.Error(err)
		return
	}
	if err := c.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}
