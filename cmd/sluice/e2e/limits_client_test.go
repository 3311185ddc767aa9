package e2e

import (
	"fmt"
	"net"
	"testing"
)

// clientConfig has a listener that tells clients apart by their own addresses, and one that is told of them. A rate of
// so few an hour is, in a test, no more than the burst.
const clientConfig = `
listeners:
  few: {bind: "127.0.0.1:0", pool: echo, per_client: {sessions: 2}}
  told: {bind: "127.0.0.1:0", pool: echo, per_client: {sessions: 2}, accept_proxy: {from: [127.0.0.0/8]}}
  slow: {bind: "127.0.0.1:0", pool: echo, per_client: {rate: 1/h, burst: 3}}
  slowtold: {bind: "127.0.0.1:0", pool: echo, per_client: {rate: 1/h, burst: 3}, accept_proxy: {from: [127.0.0.0/8]}}
pools:
  echo:
    check: {type: off}
    backends: [{name: echo, address: %q}]
`

// A client has as many sessions as it may have, and gets another one when one has ended. Others are not concerned. The
// addresses of an IPv6 network of 64 bits are one client.
func TestLimitsSessionsPerClient(t *testing.T) {
	t.Parallel()
	e := startCountedEcho(t)
	r := startSluice(t, fmt.Sprintf(clientConfig, e.address()))
	f := func(listener string, words func(i int) (source, word string), other, otherWord string) {
		t.Helper()
		address := r.address(listener)
		before := e.accepts.Load()
		open := func(i int) net.Conn {
			source, word := words(i)
			return served(t, source, address, word)
		}
		one, two := open(0), open(1)
		for i := range 5 {
			source, word := words(i)
			expectReset(t, source, address, word)
			expectReset(t, source, address, word+"hello")
		}
		third := served(t, other, address, otherWord)
		expectEcho(t, one)
		expectEcho(t, two)
		one.Close()
		source, word := words(2)
		var again net.Conn
		until(t, "there is room for one more", func() (err error) {
			if again, err = tryDial(source, address, word); err == nil {
				err = echo(again, "hello")
			}
			return err
		})
		source, word = words(3)
		expectReset(t, source, address, word)
		for _, c := range []net.Conn{two, third, again} {
			expectEcho(t, c)
			c.Close()
		}
		until(t, "all sessions have ended", func() error { return r.status().idle() })
		if n := e.accepts.Load() - before; n != 4 {
			t.Errorf("%s: the server had %d connections, want 4", listener, n)
		}
	}
	f("few", func(int) (string, string) { return "127.0.0.5", "" }, "127.0.0.6", "")
	here := "127.0.0.1"
	f("told", func(int) (string, string) { return here, header("192.0.2.1") }, here, header("192.0.2.2"))
	f("told", func(i int) (string, string) { return here, header(fmt.Sprintf("2001:db8:0:1::%x", i+1)) },
		here, header("2001:db8:0:2::1"))
	if n := r.status().ended("client_limit"); n < 3*11 {
		t.Errorf("%d sessions have ended with client_limit, want at least %d", n, 3*11)
	}
	if n := timeWaits(t, r.address("few")) + timeWaits(t, r.address("told")); n != 0 {
		t.Errorf("%d connections of sluice's ports are in TIME_WAIT", n)
	}
}

// A client that opens sessions too fast is reset, from the first one that is too many, and others are not concerned.
func TestLimitsRatePerClient(t *testing.T) {
	t.Parallel()
	e := startCountedEcho(t)
	r := startSluice(t, fmt.Sprintf(clientConfig, e.address()))
	f := func(listener, source string, words ...string) {
		t.Helper()
		address, before := r.address(listener), r.status().ended("rate_limited")
		word := func(i int) string { return words[i%len(words)] }
		for i := range 3 {
			served(t, source, address, word(i)).Close()
		}
		for i := range 6 {
			expectReset(t, source, address, word(i))
		}
		r.expectRateLimited(before + 6)
	}
	f("slow", "127.0.0.5", "")
	f("slow", "127.0.0.6", "")
	f("slowtold", "127.0.0.1", header("192.0.2.1"))
	f("slowtold", "127.0.0.1", header("192.0.2.2"))
	f("slowtold", "127.0.0.1", header("2001:db8:0:1::1"), header("2001:db8:0:1:ffff::2"), header("2001:db8:0:1::3"))
	f("slowtold", "127.0.0.1", header("2001:db8:0:2::1"))
	f("slowtold", "127.0.0.1", "PROXY UNKNOWN\r\n")
	f("slowtold", "127.0.0.2", "PROXY UNKNOWN\r\n")
	r.expectRefusals("slow", "rate_limited", 12)
	r.expectRefusals("slowtold", "rate_limited", 36)
	if n := e.accepts.Load(); n != 8*3 {
		t.Errorf("the server had %d connections, want %d", n, 8*3)
	}
	if n := timeWaits(t, r.address("slow")) + timeWaits(t, r.address("slowtold")); n != 0 {
		t.Errorf("%d connections of sluice's ports are in TIME_WAIT", n)
	}
}

// expectRateLimited waits until as many sessions were refused.
func (r *rig) expectRateLimited(want uint64) {
	r.t.Helper()
	until(r.t, "sessions are refused", func() error {
		if n := r.status().ended("rate_limited"); n != want {
			return fmt.Errorf("%d are, want %d", n, want)
		}
		return nil
	})
}
