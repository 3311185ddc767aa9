package health

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"sluice/health/probe"
	"sluice/pool"
)

// TestLateAddress: a backend without an address is down for that reason, whether it is checked or not, and is asked as
// soon as it has one.
func TestLateAddress(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	address := server.Addr().(*net.TCPAddr).AddrPort()
	for _, kind := range []probe.Kind{probe.TCP, probe.Off} {
		p, err := pool.New(pool.Config{Name: "web", Backends: []pool.BackendConfig{
			{Name: "a", Host: "a.example", Weight: 1, Address: pool.Address{TCP: netip.AddrPortFrom(netip.Addr{}, address.Port())}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		c := DefaultConfig()
		c.Probe.Kind, c.Interval, c.FastInterval, c.DownInterval, c.Rise = kind, time.Hour, time.Hour, time.Hour, 1
		m, err := New([]Watched{{Pool: p, Config: c}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			m.Run(ctx)
		}()
		b := p.Backends()[0]
		b.SetLost("a.example does not resolve")
		if kind != probe.Off {
			waitFor(t, func() bool { return m.Status(b).Error == "a.example does not resolve" || m.Status(b).Failures > 0 })
		}
		if s := m.Status(b); s.Up || s.Reason != "a.example does not resolve" || p.Usable() != 0 {
			t.Errorf("%v: %+v", kind, s)
		}
		if !b.SetAddress(pool.Address{TCP: address}) {
			t.Errorf("%v: the address is not taken", kind)
		}
		waitFor(t, func() bool { return m.Status(b).Up && b.Usable() }) // the next probe by the interval is in an hour
		cancel()
		<-done
	}
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within a minute")
		}
	}
}
