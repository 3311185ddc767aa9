package l4

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/l4/proxyheader"
	"sluice/l4/tlshello/hellotest"
	"sluice/pool"
)

// errEnough ends a visit that has found all it was to find.
var errEnough = errors.New("enough")

// sessionsOf returns the open sessions, at most limit of them; 0 = all.
func sessionsOf(srv *Server, limit int) (all []SessionStats) {
	_ = srv.VisitSessions(context.Background(), func(chunk []SessionStats) error {
		all = append(all, chunk...)
		if limit > 0 && len(all) >= limit {
			all = all[:limit]
			return errEnough
		}
		return nil
	})
	return all
}

// list returns the open sessions while the loop runs.
func (r *rig) list(limit int) (all []SessionStats) {
	r.t.Helper()
	r.while("Sessions", func() error { all = sessionsOf(r.srv, limit); return nil })
	return all
}

// only returns the one session that is open.
func (r *rig) only() SessionStats {
	r.t.Helper()
	all := r.list(0)
	if len(all) != 1 {
		r.t.Fatalf("%d sessions are listed, want one: %+v", len(all), all)
	}
	return all[0]
}

// What is said of a session in each stage of its life.
func TestSessionsInEveryState(t *testing.T) {
	hello := hellotest.OfSize(t, 600)
	f := func(state string, config rigConfig, open func(r *rig), want SessionStats) {
		t.Helper()
		t.Run(state, func(t *testing.T) {
			r := newRig(t, config)
			if all := r.list(0); len(all) != 0 {
				t.Errorf("listed before there is one: %+v", all)
			}
			open(r)
			got := r.only()
			want.State, want.Listener, want.ID = state, "test", r.newest().id
			if !want.Client.IsValid() {
				want.Client = r.dialled[0].LocalAddr().(*net.TCPAddr).AddrPort()
			}
			if got != want {
				t.Errorf("listed as %+v, want %+v", got, want)
			}
			reset(r.dialled[0])
			end := r.expectLeft()
			if end.ID != got.ID || end.Client != got.Client || end.Pool != got.Pool || end.ServerName != got.ServerName {
				t.Errorf("ended with %+v, was listed as %+v", end, got)
			}
			if all := r.list(0); len(all) != 0 {
				t.Errorf("listed after its end: %+v", all)
			}
		})
	}
	silent := []pool.Address{newBacklog(t).address}
	f("read_header", rigConfig{accept: accepting()}, writeTo([]byte(lineTCP4[:20]), nil), SessionStats{})
	f("read_hello", rigConfig{accept: accepting(), protocol: ProtocolTLS}, writeTo([]byte(lineTCP4), nil),
		SessionStats{Client: source4})
	f("waiting", rigConfig{queueMax: 1}, func(r *rig) {
		r.pool.Backends()[0].SetUp(false)
		r.dial()
		r.expectWaiting(1)
	}, SessionStats{Pool: "pool"})
	f("connecting", rigConfig{backends: silent, protocol: ProtocolTLS}, writeTo(hello, nil),
		SessionStats{Pool: "pool", Backend: "b0", ServerName: "shop.example.com"})
	f("answering", rigConfig{protocol: ProtocolTLS}, writeTo(hello, func(r *rig, c conn) { r.expect(r.accept(), hello) }),
		SessionStats{Pool: "pool", Backend: "b0", ServerName: "shop.example.com", Sent: uint64(len(hello))})
	f("cancelling", rigConfig{protocol: ProtocolPostgres},
		writeTo(cancelRequest(cancelKey(1, 4)), func(r *rig, c conn) { r.accept() }), SessionStats{Pool: "pool"})
	f("relaying", rigConfig{}, func(r *rig) {
		ends := r.pair()
		r.write(ends[client], random(1, 1000))
		r.expect(ends[server], random(1, 1000))
		r.write(ends[server], random(2, 500))
		r.expect(ends[client], random(2, 500))
	}, SessionStats{Pool: "pool", Backend: "b0", Sent: 1000, Received: 500})
	named := v2(commandProxy, familyTCP6, addresses6, field(typeUniqueID, []byte("from-the-edge")))
	f("relaying", rigConfig{accept: accepting()}, writeTo(named, func(r *rig, c conn) {
		r.accept()
		r.until("it relays", func() bool { return r.newest().state == stateRelaying })
	}), SessionStats{Pool: "pool", Backend: "b0", Client: source6, UniqueID: "from-the-edge"})
}

// Age counts from accept, idle from the last byte in either direction.
func TestSessionsTimes(t *testing.T) {
	r := newRig(t, rigConfig{})
	ends := r.pair()
	f := func(age, idle time.Duration) {
		t.Helper()
		if got := r.only(); got.Age != age || got.Idle != idle {
			t.Errorf("age %v, idle %v; want %v, %v", got.Age, got.Idle, age, idle)
		}
	}
	f(0, 0)
	r.now += time.Hour
	r.step()
	f(time.Hour, time.Hour)
	r.exchange(ends[client], ends[server], 1)
	f(time.Hour, 0)
	r.now += time.Minute
	r.step()
	f(time.Hour+time.Minute, time.Minute)
	r.exchange(ends[server], ends[client], 1)
	f(time.Hour+time.Minute, 0)
}

// The ID that the backend is told is the one that is listed and reported.
func TestSessionsUniqueID(t *testing.T) {
	r := newRig(t, rigConfig{send: ProxyV2, listener: func(l *ListenerConfig) { l.Target.TLVs = []TLV{TLVUniqueID} }})
	c := r.dial()
	header, _ := r.readHeaderOf(r.accept())
	listed := r.only()
	if told := proxyheader.UniqueIDIn(header); told == "" || listed.UniqueID != told {
		t.Errorf("the backend was told %q, listed is %+v", told, listed)
	}
	reset(c)
	if end := r.expectLeft(); end.UniqueID != listed.UniqueID {
		t.Errorf("ended with %+v, was listed as %+v", end, listed)
	}
}

func TestSessionsOfUnixClient(t *testing.T) {
	r := newRig(t, rigConfig{bind: []pool.Address{{Unix: t.TempDir() + "/front"}}})
	r.pair()
	if got := r.only(); got.Client.IsValid() {
		t.Errorf("listed with client %v, want none", got.Client)
	}
}

// ports are the client ports of a list, in ascending order.
func ports(all []SessionStats) (list []uint16) {
	for _, s := range all {
		list = append(list, s.Client.Port())
	}
	slices.Sort(list)
	return list
}

// All loops are asked, each session is listed once, and no more than were asked for.
func TestSessionsOfManyLoops(t *testing.T) {
	const loops, n = 3, 40
	backend := newEcho(t)
	defer backend.stop()
	srv := startServer(t, loops, newPool(t, loops, 0, tcpAddress(backend.Addr())), ListenerConfig{}, nil)
	var want []uint16
	for range n {
		c := dialEcho(t, srv)
		defer c.Close()
		want = append(want, uint16(port(c)))
	}
	slices.Sort(want)
	all := sessionsOf(srv, 0)
	if got := ports(all); !slices.Equal(got, want) {
		t.Errorf("clients %v are listed, want %v", got, want)
	}
	ids := map[uint64]bool{}
	for _, s := range all {
		ids[s.ID] = true
		if s.State != "relaying" || s.Sent != 4 || s.Received != 4 || s.Age <= 0 || s.Age > patient || s.Idle > s.Age {
			t.Errorf("listed as %+v", s)
		}
	}
	if len(ids) != n {
		t.Errorf("%d numbers for %d sessions", len(ids), n)
	}
	f := func(limit, want int) {
		t.Helper()
		got := sessionsOf(srv, limit)
		for _, s := range got {
			if !ids[s.ID] {
				t.Errorf("limit %d: listed %+v", limit, s)
			}
		}
		if len(slices.Compact(ports(got))) != want || len(got) != want {
			t.Errorf("limit %d: %d sessions, want %d", limit, len(got), want)
		}
	}
	f(1, 1)
	f(2, 2)
	f(n/2, n/2)
	f(n-1, n-1)
	f(n, n)
	f(n+1, n)
	f(1_000_000, n)
	shutDown(t, srv)
	if got := sessionsOf(srv, 0); got != nil {
		t.Errorf("listed after the shutdown: %+v", got)
	}
}

// Sessions may be listed at any time: while they come and go, and while the server ends.
func TestSessionsConcurrently(t *testing.T) {
	const loops, clients, rounds = 3, 8, 40
	backend := newEcho(t)
	defer backend.stop()
	srv := startServer(t, loops, newPool(t, loops, 0, tcpAddress(backend.Addr())), ListenerConfig{}, nil)
	stop := make(chan struct{})
	var readers, all sync.WaitGroup
	for reader := range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for _, s := range sessionsOf(srv, reader*2) {
					if s.ID == 0 || s.State == "closed" || s.Listener != "test" || !s.Client.IsValid() || s.Age < 0 {
						t.Errorf("listed as %+v", s)
					}
				}
			}
		})
	}
	for range clients {
		all.Go(func() {
			for range rounds {
				if err := echoOnce(srv.testAddress(), "127.0.0.1", func() {}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	srv.Shutdown(ctx)
	close(stop)
	ended := make(chan struct{})
	go func() { readers.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(patient):
		t.Fatal("Sessions has not returned after the shutdown")
	}
}

// A list is a copy: it stays what it was when the sessions have gone.
func TestSessionsIsACopy(t *testing.T) {
	r := newRig(t, rigConfig{protocol: ProtocolTLS})
	hello := hellotest.OfSize(t, 600)
	c := r.dial()
	r.write(c, hello)
	s := r.accept()
	r.expect(s, hello)
	before := r.only()
	reset(c)
	r.expectEnd(ClientReset)
	r.dial()
	r.until("the slot is used again", func() bool { return r.newest() != nil })
	if before.ServerName != "shop.example.com" || before.Backend != "b0" || before.State != "answering" {
		t.Errorf("the list has changed: %+v", before)
	}
	if next := r.only(); next.ServerName != "" || next.Backend != "" || next.Pool != "" || next.ID == before.ID ||
		next.Client == (netip.AddrPort{}) {
		t.Errorf("the next one in the slot is listed as %+v", next)
	}
}
