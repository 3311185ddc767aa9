package l4

import (
	"slices"
	"testing"
	"time"

	"sluice/l4/route"
	"sluice/pool"
)

// cancelRigOf is a rig of two pools: db1 gets PROXY headers of version 1, db2 of version 2, with a
// unique ID. shared: the second server of db1 is the first of db2.
func cancelRigOf(t *testing.T, shared bool) *routedRig {
	t.Helper()
	var r *routedRig
	config := rigConfig{protocol: ProtocolPostgres}
	config.listener = func(l *ListenerConfig) {
		one, two := &l.Routes[0].Target, &l.Routes[1].Target
		one.SendProxy, two.SendProxy, two.TLVs = ProxyV1, ProxyV2, []TLV{TLVUniqueID}
		if shared {
			both := newPool(t, 1, 0, one.Pool.Backends()[1].Address(), two.Pool.Backends()[1].Address())
			two.Pool = both
		}
	}
	routes := []routeTo{{route.Rule{Database: []string{"one"}}, "db1"}, {route.Rule{Database: []string{"two"}}, "db2"}}
	r = newRoutedRig(t, config, 2, "", routes...)
	if shared {
		r.pools["db2"] = r.srv.listeners()[0].rules.Load().config.Routes[1].Target.Pool
		r.at["db2"][0] = r.at["db1"][1]
	}
	return r
}

// cancelHeader is the header that a server of a pool gets for a client's cancel request.
func (r *routedRig) cancelHeader(c conn, pool string) []byte {
	r.t.Helper()
	if pool == "db1" {
		return r.headerFor(c, ProxyV1)
	}
	id := r.srv.uniqueIDs.of(r.newest().id)
	plain := r.headerFor(c, ProxyV2)
	return v2(commandProxy, familyTCP4, plain[16:], field(typeUniqueID, []byte(id.String())))
}

// loginTo opens a session in clear with a database, whose server gives it a key.
func (r *routedRig) loginTo(database, pool string, i int, key []byte) (ends [2]conn) {
	r.t.Helper()
	c := r.dialNow()
	r.put(c, startupOf("alice", database))
	s := r.take(r.at[pool][i])
	r.get(s, r.cancelHeader(c, pool))
	r.get(s, startupOf("alice", database))
	r.put(s, loginAnswer(key))
	r.get(c, loginAnswer(key))
	return [2]conn{c, s}
}

// Of a key that is known only its owner is asked, with the header of the pool that the session
// went through.
func TestPgnameCancelOwner(t *testing.T) {
	for _, shared := range []bool{false, true} {
		r := cancelRigOf(t, shared)
		key1, key2 := cancelKey(1, 4), cancelKey(2, 32)
		r.loginTo("one", "db1", 0, key1)
		r.loginTo("two", "db2", 0, key2)
		for _, want := range []struct {
			key  []byte
			pool string
		}{{key1, "db1"}, {key2, "db2"}} {
			c := r.dialNow()
			r.put(c, cancelRequest(want.key))
			s := r.take(r.at[want.pool][0])
			r.get(s, slices.Concat(r.cancelHeader(c, want.pool), cancelRequest(want.key)))
			r.expectNothing(c, s)
			for pool, listeners := range r.at {
				for i, listener := range listeners {
					if pool != want.pool || i != 0 {
						r.expectNobody(listener)
					}
				}
			}
			s.Close()
			r.expectFIN(c)
			if end := r.expectEnd(ServerClosed); end.Pool != r.pools[want.pool].Name() {
				t.Errorf("ended with %+v, want pool %s", end, want.pool)
			}
		}
	}
}

// Of a key that is not known every server is asked once, though it is in two pools.
func TestPgnameCancelUnknown(t *testing.T) {
	f := func(name string, shared bool, prepare func(r *routedRig), want map[string][]int) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := cancelRigOf(t, shared)
			prepare(r)
			for _, before := range [][]byte{nil, gssRequest} {
				c := r.dialNow()
				if before != nil {
					r.put(c, before)
					r.get(c, []byte("N"))
				}
				request := cancelRequest(cancelKey(9, 4))
				r.put(c, request)
				r.until("it is passed on", func() bool { s := r.newest(); return s != nil && s.state == stateCancelling })
				var asked []conn
				for pool, list := range want {
					for _, i := range list {
						s := r.take(r.at[pool][i])
						r.get(s, slices.Concat(r.cancelHeader(c, pool), request))
						asked = append(asked, s)
					}
				}
				for _, listeners := range r.at {
					for _, listener := range listeners {
						r.expectNobody(listener)
					}
				}
				r.expectNothing(append(asked, c)...)
				for _, s := range asked {
					s.Close()
				}
				r.expectFIN(c)
				r.expectEnd(ServerClosed)
			}
		})
	}
	nothing := func(*routedRig) {}
	f("all", false, nothing, map[string][]int{"db1": {0, 1}, "db2": {0, 1}})
	f("shared", true, nothing, map[string][]int{"db1": {0, 1}, "db2": {1}})
	f("shared, down in one pool", true, func(r *routedRig) { r.pools["db1"].Backends()[1].SetUp(false) },
		map[string][]int{"db1": {0}, "db2": {0, 1}})
	f("in maintenance", false, func(r *routedRig) { r.pools["db2"].Backends()[0].SetAdmin(pool.Maint) },
		map[string][]int{"db1": {0, 1}, "db2": {1}})
}

// Nobody is there to be asked: the client learns no more than that it is over.
func TestPgnameCancelNobody(t *testing.T) {
	r := cancelRigOf(t, false)
	for _, p := range r.pools {
		for _, b := range p.Backends() {
			b.SetUp(false)
		}
	}
	c := r.dialNow()
	r.put(c, cancelRequest(cancelKey(9, 4)))
	r.expectEnd(NoBackend)
	r.expectReset(c, nil)
	r.expectUnasked()
}

// A cancel request after the pool of the listener has said that it does not encrypt: the servers
// of all pools are asked.
func TestPgnameCancelAfterNo(t *testing.T) {
	config := rigConfig{protocol: ProtocolPostgres, peek: time.Minute}
	r := newRoutedRig(t, config, 1, "all", routeTo{route.Rule{Database: []string{"app"}}, "apps"})
	c := r.dialNow()
	r.put(c, sslRequest)
	s := r.take(r.at["all"][0])
	r.get(s, sslRequest)
	r.put(s, []byte("N"))
	r.get(c, []byte("N"))
	request := cancelRequest(cancelKey(9, 4))
	r.put(c, request)
	r.expectFIN(s)
	for _, pool := range []string{"all", "apps"} {
		s := r.take(r.at[pool][0])
		r.get(s, request)
		s.Close()
	}
	r.expectFIN(c)
	r.expectEnd(ServerClosed)
}
