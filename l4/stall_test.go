package l4

import (
	"testing"
	"time"

	"sluice/pool"
)

// stalledCrowd is more sessions than a loop hears of in one batch of events.
const stalledCrowd = eventBatch + 50

// What has come while the loop was not there counts before the time that has passed, for
// as many sessions as there are.
func TestDataBeforeIdleTimeout(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		r := newRig(t, rigConfig{idle: 6 * time.Second, fin: 6 * time.Second})
		var all [][2]conn
		for range stalledCrowd {
			all = append(all, r.pair())
		}
		r.settle()
		for _, ends := range all {
			if _, err := ends[near].Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		r.now += 8 * time.Second
		r.settle()
		if n := len(r.ended); n > 0 {
			t.Fatalf("%d of %d sessions ended, the first with %v", n, len(all), r.ended[0].Reason)
		}
		for _, ends := range all {
			r.expect(ends[near.other()], []byte("x"))
		}
		r.now += 6*time.Second + tick
		r.until("all have ended", func() bool { return len(r.ended) == len(all) })
	})
}

// The end of the data that has come meanwhile is the end, and not a timeout.
func TestFINBeforeIdleTimeout(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		r := newRig(t, rigConfig{idle: 6 * time.Second})
		ends := r.pair()
		r.settle()
		if _, err := ends[near].Write([]byte("last words")); err != nil {
			t.Fatal(err)
		}
		ends[near].CloseWrite()
		r.now += 8 * time.Second
		r.expect(ends[near.other()], []byte("last words"))
		r.expectFIN(ends[near.other()])
		ends[near.other()].CloseWrite()
		r.expectFIN(ends[near])
		r.expectEnd(closedBy(near))
	})
}

// First bytes that have come meanwhile are in time.
func TestFirstBytesBeforeTimeout(t *testing.T) {
	f := func(name string, c rigConfig, state state, first []byte) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c)
			var clients []conn
			for range stalledCrowd {
				clients = append(clients, r.dial())
			}
			inState := func() (n int) {
				r.loop.sessions.each(func(s *session) {
					if s.state == state {
						n++
					}
				})
				return n
			}
			r.until("all wait", func() bool { return inState() == stalledCrowd })
			for _, c := range clients {
				if _, err := c.Write(first); err != nil {
					t.Fatal(err)
				}
			}
			r.now += 8 * time.Second
			r.until("nobody waits", func() bool { return inState() == 0 })
			if n := len(r.ended); n > 0 {
				t.Fatalf("%d of %d sessions ended, the first with %v", n, stalledCrowd, r.ended[0].Reason)
			}
			if got := r.newest().state; got == stateReadHello || got == stateReadHeader {
				t.Errorf("state %v", got)
			}
			for _, c := range clients {
				c.Close()
			}
		})
	}
	f("hello", rigConfig{protocol: ProtocolPostgres, peek: 5 * time.Second}, stateReadHello, startup)
	f("header", rigConfig{accept: &AcceptProxy{From: accepting().From, Timeout: 5 * time.Second}}, stateReadHeader, []byte(lineTCP4))
}

// Half of the first bytes do not stop the clock.
func TestHalfOfFirstBytes(t *testing.T) {
	r := newRig(t, rigConfig{protocol: ProtocolPostgres, peek: 5 * time.Second})
	c := r.dial()
	r.until("it waits", func() bool { return r.newest() != nil && r.newest().state == stateReadHello })
	if _, err := c.Write(startup[:6]); err != nil {
		t.Fatal(err)
	}
	r.now += 8 * time.Second
	r.expectEnd(HelloTimeout)
}

// A loop's clock stands still while the loop does: a backend is not blamed for the time
// that it was not waited for.
func TestStalledLoopBlamesNobody(t *testing.T) {
	backlog := newBacklog(t)
	second := listenTCP(t, "127.0.0.1:0")
	r := newRig(t, rigConfig{
		backends: []pool.Address{backlog.address, tcpAddress(second.Addr())}, connect: 4 * time.Second, retries: 1,
	})
	r.loop.tolerate = stallTime
	start := r.now
	r.dial()
	r.until("it connects", func() bool { return r.newest() != nil && r.newest().state == stateConnecting })
	r.now += time.Hour
	r.settle()
	if len(r.dials) > 0 || r.newest().state != stateConnecting {
		t.Fatalf("dials %v, state %v: a backend was blamed", r.dials, r.newest().state)
	}
	for range 20 { // half of the time is the first backend's
		r.now += stallTime / 2
		r.step()
	}
	r.acceptFrom(second)
	if len(r.dials) != 2 || r.dials[0] != pool.DialTimeout || r.dials[1] != pool.DialOK {
		t.Errorf("dials %v, want a timeout and a success", r.dials)
	}
	if age := r.loop.describe(r.newest()).Age; age != r.now-start {
		t.Errorf("the session is %v old, want %v: for people the time has passed", age, r.now-start)
	}
}

// A wait that lasts as long as it was meant to is no stop.
func TestLongWaitIsNoStall(t *testing.T) {
	r := newRig(t, rigConfig{idle: time.Minute})
	r.loop.tolerate = stallTime
	ends := r.pair()
	r.settle()
	for _, wait := range []time.Duration{time.Minute - time.Second, time.Second} {
		r.now += wait + stallTime/2
		r.loop.readClock(wait)
	}
	r.loop.timers.advance(r.loop.now, r.loop.expire)
	r.expectEnd(IdleTimeout)
	for _, c := range ends {
		r.expectFIN(c)
	}
}

// A loop that is late every time, for want of a processor, still ends what is over.
func TestAlwaysLate(t *testing.T) {
	r := newRig(t, rigConfig{idle: time.Minute})
	r.loop.tolerate = stallTime
	r.pair()
	r.settle()
	for i := 0; len(r.ended) == 0; i++ {
		if i > 1000 {
			t.Fatal("the session does not end")
		}
		r.now += stallTime + stallTime/2
		r.step()
	}
	r.expectEnd(IdleTimeout)
}
