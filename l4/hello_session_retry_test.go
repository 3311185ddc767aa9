package l4

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"sluice/l4/tlshello"
	"sluice/l4/tlshello/hellotest"
	"sluice/pool"
)

// helloFailures are ways in which a backend that has a hello, or was asked for TLS, may
// fail to answer, and whether that counts against it.
var helloFailures = []struct {
	name    string
	fail    func(r *helloRig, s conn)
	retries int
}{
	{"FIN", func(r *helloRig, s conn) { s.Close() }, 1},
	{"half-closed", func(r *helloRig, s conn) { s.CloseWrite() }, 1},
	{"reset", func(r *helloRig, s conn) { reset(s) }, 1},
	{"redispatch", func(r *helloRig, s conn) { r.down(r.shop(0)) }, 0},
	{"redispatch and FIN", func(r *helloRig, s conn) { r.down(r.shop(0)); s.Close() }, 0},
	{"redispatch and answer", func(r *helloRig, s conn) { r.down(r.shop(0)); s.Write([]byte("S")) }, 0},
	{"end", func(r *helloRig, s conn) { r.shop(0).SetUp(false); r.endSessions(r.shop(0), 0, 0) }, 0},
}

func (r *helloRig) shop(i int) *pool.Backend { return r.pools["shop"].Backends()[i] }

// A backend that fails before it has answered a hello costs the client nothing but time:
// the next one gets the same bytes, once, behind a header and a request of its own.
func TestHelloRetried(t *testing.T) {
	f := func(way helloWay, name string, fail func(r *helloRig, s conn), retries int, asked bool) {
		t.Helper()
		t.Run(fmt.Sprintf("%s, %s, asked for TLS first: %v", way.name, name, asked), func(t *testing.T) {
			r := newHelloRig(t, way, 2, rigConfig{retries: 1})
			hello := hellotest.Recorded()["chromium-156"].Data
			data := slices.Concat(hello, []byte("early"))
			c, header := r.begin()
			r.put(c, r.opening(data))
			opened := slices.Concat(header, way.preface)
			bad, first := conn(nil), len(opened)
			if asked {
				bad = r.take(r.at["shop"][0])
				r.get(bad, opened)
			} else {
				bad = r.arrive(c, 0, header, data)[server]
				first += len(data)
			}
			r.untilAnswering()
			fail(r, bad)
			ends := r.arrive(c, 1, header, data)
			r.expectNothing(ends[:]...)
			r.put(ends[server], []byte("\x16\x03\x03 answer"))
			r.get(c, []byte("\x16\x03\x03 answer"))
			r.quick(ends)
			c.Close()
			r.expectFIN(ends[server])
			ends[server].Close()
			end := r.expectEnd(ClientClosed)
			second := len(opened) + len(data) + quickBytes
			if end.Backend != "shop1" || end.Retries != retries || end.Sent != uint64(first+second) ||
				end.ServerName != shopName {
				t.Errorf("ended with %+v, want shop1, %d retries, %d bytes sent", end, retries, first+second)
			}
			if b0, b1 := r.shop(0).Stats(), r.shop(1).Stats(); b0.Sent != uint64(first) || b0.Received != 0 ||
				b1.Sent != uint64(second) || b0.Connects != 1 || b1.Connects != 1 {
				t.Errorf("counted %+v and %+v, want %d and %d bytes sent", b0, b1, first, second)
			}
			r.expectEmpty()
		})
	}
	for _, way := range helloWays {
		for _, failure := range helloFailures {
			f(way, failure.name, failure.fail, failure.retries, false)
			if way.preface != nil {
				f(way, failure.name, failure.fail, failure.retries, true)
			}
		}
	}
}

// Connects that are refused have taken nothing away.
func TestHelloAfterRefusedConnects(t *testing.T) {
	for _, way := range helloWays {
		t.Run(way.name, func(t *testing.T) {
			r := newHelloRig(t, way, 3, rigConfig{retries: 2})
			r.at["shop"][0].Close()
			r.at["shop"][1].Close()
			c, header := r.begin()
			data := hellotest.OfSize(t, tlshello.MaxHello)
			r.putAll(c, r.opening(data))
			ends := r.arrive(c, 2, header, data)
			r.answered(ends)
			r.expectDials(pool.DialRefused, pool.DialRefused, pool.DialOK)
			reset(c)
			if end := r.expectEnd(ClientReset); end.Retries != 2 || end.Backend != "shop2" {
				t.Errorf("ended with %+v, want 2 retries, shop2", end)
			}
		})
	}
}

// When nobody takes a hello, the client is told so in TLS, and gets a clean end.
func TestHelloRefusals(t *testing.T) {
	f := func(name string, c rigConfig, prepare func(r *helloRig), asked int, reason Reason) {
		t.Helper()
		for _, way := range helloWays {
			t.Run(name+", "+way.name, func(t *testing.T) {
				r := newHelloRig(t, way, 2, c)
				prepare(r)
				c, header := r.begin()
				r.put(c, r.opening(slices.Concat(hellotest.InRecords(hellotest.Valid), hellotest.Record(23, []byte("early")))))
				for _, at := range r.at["shop"][:asked] {
					s := r.take(at)
					r.get(s, slices.Concat(header, way.preface))
					s.Close()
				}
				r.until("the hello is read", func() bool {
					s := r.newest()
					return len(r.ended) > r.checked || s != nil && s.state != stateReadHello && s.state != stateReadHeader
				})
				r.now += time.Minute
				if end := r.expectEnd(reason); end.Pool != "shop" || end.ServerName != shopName {
					t.Errorf("ended with %+v, want pool shop", end)
				}
				if told, err := r.restNow(c); err != nil || string(told) != string(tlshello.AlertInternalError.Record()) {
					t.Errorf("the client read %q, %v; want the alert and FIN", told, err)
				}
				r.expectEmpty()
			})
		}
	}
	down := func(r *helloRig) {
		for _, b := range r.pools["shop"].Backends() {
			b.SetUp(false)
		}
	}
	refuse := func(r *helloRig) {
		for _, at := range r.at["shop"] {
			at.(*net.TCPListener).Close()
		}
	}
	f("nobody is up", rigConfig{}, down, 0, NoBackend)
	f("nobody comes up", rigConfig{queueMax: 5, queueTimeout: 10 * time.Second}, down, 0, QueueTimeout)
	f("refused", rigConfig{retries: 3}, refuse, 0, ConnectRefused)
	f("hung up", rigConfig{retries: 1}, func(*helloRig) {}, 2, ServerReset)
	f("hung up, no budget", rigConfig{}, func(*helloRig) {}, 1, ServerReset)
}
