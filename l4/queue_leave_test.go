package l4

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/pool"
)

// Who leaves the queue has its place no more. A tcp client that has sent something and
// FIN has asked, and waits for its answer.
func TestClientLeavesQueue(t *testing.T) {
	fin, rst := func(c conn) { c.CloseWrite() }, reset
	f := func(name string, config rigConfig, sent string, leave func(conn), want Reason) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			config.queueMax, config.queueTimeout = 10, time.Minute
			for _, early := range []bool{false, true} { // whether it leaves before it is looked at
				if config.bind != nil {
					config.bind = []pool.Address{{Unix: filepath.Join(t.TempDir(), "front")}}
				}
				r := newRig(t, config)
				r.pool.Backends()[0].SetUp(false)
				c := r.dial()
				r.write(c, []byte(sent))
				if early {
					leave(c)
				} else {
					r.expectWaiting(1)
					r.now += 3 * time.Second
					leave(c)
				}
				if want == noReason {
					r.expectWaiting(1)
					r.settle()
					r.expectState(stateWaiting)
					r.pool.Backends()[0].SetUp(true)
					s := r.accept()
					r.expect(s, []byte("request"))
					r.expectFIN(s)
					r.write(s, []byte("answer"))
					s.Close()
					r.expect(c, []byte("answer"))
					r.expectFIN(c)
					r.expectEnd(ClientClosed)
					continue
				}
				end := r.expectEnd(want)
				if wait := 3 * time.Second; !early && (end.Waited != wait || end.Duration != wait) {
					t.Errorf("ended with %+v, want 3s of waiting", end)
				}
				r.expectWaiting(0)
				if want == ClientClosed && !strings.HasSuffix(sent, "more") && !strings.Contains(name, "reset") { // what is unread makes it a reset
					r.expectFIN(c)
				}
				r.expectEmpty()
			}
		})
	}
	tcp, pg := rigConfig{}, rigConfig{protocol: ProtocolPostgres}
	tcpHeader, pgHeader := rigConfig{accept: accepting()}, rigConfig{protocol: ProtocolPostgres, accept: accepting()}
	unix := rigConfig{bind: []pool.Address{{}}}
	f("tcp, FIN", tcp, "", fin, ClientClosed)
	f("tcp, reset", tcp, "", rst, ClientClosed)
	f("tcp, header and reset", tcpHeader, lineTCP4, rst, ClientClosed)
	f("tcp, request and FIN", tcp, "request", fin, noReason)
	f("tcp, request and reset", tcp, "request", rst, ClientReset)
	f("tcp, header and FIN", tcpHeader, lineTCP4, fin, ClientClosed)
	f("tcp, header, request and FIN", tcpHeader, lineTCP4+"request", fin, noReason)
	f("tcp, header, request and reset", tcpHeader, lineTCP4+"request", rst, ClientReset)
	f("unix, FIN", unix, "", fin, ClientClosed)
	f("unix, request and FIN", unix, "request", fin, noReason)
	f("postgres, FIN", pg, string(startup), fin, ClientClosed)
	f("postgres, reset", pg, string(startup), rst, ClientReset)
	f("postgres, more and FIN", pg, string(startup)+"more", fin, ClientClosed)
	f("postgres, header and FIN", pgHeader, lineTCP4+string(startup), fin, ClientClosed)
	f("postgres, SSLRequest and FIN", pg, string(sslRequest), fin, ClientClosed)
}

// A Unix client that closes hangs up both ways.
func TestUnixClientClosesInQueue(t *testing.T) {
	r := newRig(t, rigConfig{bind: []pool.Address{{Unix: filepath.Join(t.TempDir(), "front")}}, queueMax: 1})
	r.pool.Backends()[0].SetUp(false)
	r.queueUp().Close()
	r.expectEnd(ClientClosed)
	r.expectWaiting(0)
}

// A client whose machine has gone does not keep its place for long.
func TestDeadClientInQueue(t *testing.T) {
	r := newPostgresRig(t, rigConfig{queueMax: 1, dead: [2]time.Duration{time.Second, 0}})
	r.pool.Backends()[0].SetUp(false)
	silence(r.queueUp())
	r.now += guardAfter
	if end := r.expectEnd(ClientReset); end.Errno != syscall.ETIMEDOUT {
		t.Errorf("ended with %+v, want ETIMEDOUT", end)
	}
	r.expectWaiting(0)
}
