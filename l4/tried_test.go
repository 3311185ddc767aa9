package l4

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"sluice/pool"
)

// expectTried compares the failures of a session with what is wanted: names, and why.
func expectTried(t *testing.T, end End, want ...Try) {
	t.Helper()
	got := slices.Clone(end.Tried)
	for i := range got {
		if got[i].Took < 0 || got[i].Took > end.Duration {
			t.Errorf("%v took of %v of the session", got[i], end.Duration)
		}
		got[i].Took = 0
	}
	if !slices.Equal(got, want) {
		t.Errorf("tried %+v, want %+v", got, want)
	}
}

func TestTried(t *testing.T) {
	refused := func(name string) Try { return Try{name, ConnectRefused, syscall.ECONNREFUSED, 0} }
	good := tcpAddress(listenTCP(t, "127.0.0.1:0").Addr())

	r := newRig(t, rigConfig{backends: []pool.Address{refusing(t), refusing(t), good}, retries: 2})
	c := r.dial()
	r.until("it relays", func() bool { return r.newest() != nil && r.newest().state == stateRelaying })
	reset(c)
	expectTried(t, r.expectEnd(ClientClosed), refused("b0"), refused("b1"))

	// What a session ends with is no server that failed before.
	r = newRig(t, rigConfig{backends: []pool.Address{refusing(t), refusing(t)}, retries: 2})
	r.dial()
	end := r.expectEnd(ConnectRefused)
	if end.Backend != "b1" {
		t.Errorf("ended with %+v, want b1", end)
	}
	expectTried(t, end, refused("b0"))

	// How long it was waited for, and for what, is told of each.
	r = newPostgresRig(t, rigConfig{backends: []pool.Address{newBacklog(t).address, good}, connect: 4 * time.Second, retries: 1})
	c = r.dial()
	r.write(c, startup)
	r.until("the connect is under way", func() bool { return r.newest() != nil && r.newest().state == stateConnecting })
	r.now += 2*time.Second + 2*tick
	r.until("the other one has the packet", func() bool { return r.newest().state == stateAnswering })
	r.now += time.Second
	reset(c)
	if end = r.expectEnd(ClientReset); len(end.Tried) != 1 || end.Tried[0].Took < 2*time.Second {
		t.Errorf("tried %+v, want b0 for two seconds", end.Tried)
	}
	expectTried(t, end, Try{"b0", ConnectTimeout, syscall.ETIMEDOUT, 0})

	// One that went down before it answered has failed, too.
	r = newPostgresRig(t, rigConfig{backends: []pool.Address{newBacklog(t).address, good}})
	c = r.dial()
	r.write(c, startup)
	r.until("the connect is under way", func() bool { return r.newest() != nil && r.newest().state == stateConnecting })
	r.down(r.pool.Backends()[0])
	r.until("the other one has the packet", func() bool { return r.newest().state == stateAnswering })
	reset(c)
	expectTried(t, r.expectEnd(ClientReset), Try{"b0", BackendDown, 0, 0})
}

// A session that tries each second for a long time remembers the latest failures.
func TestTriedIsBounded(t *testing.T) {
	r := newRig(t, rigConfig{backends: []pool.Address{refusing(t)}, queueMax: 1, queueTimeout: 30 * time.Second})
	r.dial()
	r.until("it waits", func() bool { return r.newest() != nil && r.newest().state == stateWaiting })
	for range 20 {
		before := len(r.dials)
		r.now += turnaround + tick
		r.until("it has tried again", func() bool { return len(r.dials) > before })
	}
	r.now += time.Minute
	if end := r.expectEnd(QueueTimeout); len(end.Tried) != maxTries || end.Retries < 20 {
		t.Errorf("ended with %d tries remembered after %d retries, want %d", len(end.Tried), end.Retries, maxTries)
	}
}

func TestLocal(t *testing.T) {
	wildcard := []pool.Address{{TCP: netip.AddrPortFrom(netip.Addr{}, 0)}}
	f := func(name string, config rigConfig, want Reason, act func(r *rig, c conn)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			config.bind = wildcard
			r := newRig(t, config)
			var asked []Reason
			r.srv.config.WantLocal = func(reason Reason) bool {
				asked = append(asked, reason)
				return len(asked) == 1
			}
			for i := range 2 {
				d, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.9:%d", (*r.srv.listeners()[0].sockets.Load())[0].bound.TCP.Port()))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = d.Close() })
				act(r, d.(conn))
				end := r.expectEnd(want)
				if got := end.Local.String() == d.RemoteAddr().String(); got != (i == 0) || end.Local.IsValid() != got {
					t.Errorf("local is %v, the client went to %v", end.Local, d.RemoteAddr())
				}
			}
			if !slices.Equal(asked, []Reason{want, want}) {
				t.Errorf("asked of %v", asked)
			}
		})
	}
	f("both are done", rigConfig{}, ClientClosed, func(r *rig, c conn) {
		s := r.accept()
		c.Close()
		r.expectFIN(s)
		s.Close()
	})
	f("reset", rigConfig{}, ClientClosed, func(r *rig, c conn) {
		r.accept()
		reset(c)
	})
	f("denied", rigConfig{listener: withAccess("", "0.0.0.0/0")}, Denied, func(*rig, conn) {})
	f("untrusted", rigConfig{accept: &AcceptProxy{}}, HeaderUntrusted, func(*rig, conn) {})
}
