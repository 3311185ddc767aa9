package l4

import (
	"slices"
	"testing"

	"sluice/l4/route"
	"sluice/pool"
)

// A client may ask for each kind of encryption once, as the server has it (ProcessStartupPacket):
// who asks again and again would have the loop for itself.
func TestEncryptionIsAskedForOnce(t *testing.T) {
	f := func(name string, rules []route.Rule, fallback bool, answers string, requests ...[]byte) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newPostgresRig(t, rigConfig{listener: func(l *ListenerConfig) {
				for _, rule := range rules {
					l.Routes = append(l.Routes, RoutedTarget{Rule: rule, Target: l.Target})
				}
				if !fallback {
					l.Target = Target{}
				}
			}})
			c := r.dial()
			if _, err := c.Write(slices.Concat(requests...)); err != nil { // the loop stands still
				t.Fatal(err)
			}
			r.settle()
			if len(r.ended) == 0 {
				t.Fatalf("%d requests for encryption are taken: %s", len(requests), r.describe())
			}
			r.expectEnd(HelloInvalid)
			if data, err := r.rest(c); err == nil || string(data) != answers && len(data) > 0 {
				t.Errorf("the client read %q, %v; want at most %q and a reset", data, err, answers)
			}
		})
	}
	bySNI, byDatabase := []route.Rule{{SNI: []string{"a.example.com"}}}, []route.Rule{{Database: []string{"app"}}}
	f("GSSENCRequest twice", bySNI, true, "N", gssRequest, gssRequest)
	f("GSSENCRequest 1,000 times", byDatabase, true, "N", slices.Repeat([][]byte{gssRequest}, 1000)...)
	f("SSLRequest twice", byDatabase, false, "N", sslRequest, sslRequest)
	f("both in turn", byDatabase, false, "NN", gssRequest, sslRequest, gssRequest, sslRequest)
}

// What a session has failed on in one pool is not what it fails of in another.
func TestFailuresStayWithTheirPool(t *testing.T) {
	f := func(name string, leave func(r *rig, s conn)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			good := listenTCP(t, "127.0.0.1:0")
			other := newPool(t, 1, 0, refusing(t))
			r := newPostgresRig(t, rigConfig{
				backends: []pool.Address{refusing(t), tcpAddress(good.Addr())}, retries: 1,
				listener: func(l *ListenerConfig) {
					target := l.Target
					target.Pool = other
					l.Routes = []RoutedTarget{{Rule: route.Rule{Database: []string{"shop"}}, Target: target}}
				},
			})
			other.Backends()[0].SetUp(false)
			c := r.dial()
			r.write(c, sslRequest)
			s := r.acceptFrom(good) // after one that refused
			r.expect(s, sslRequest)
			r.write(s, []byte("N"))
			r.expect(c, []byte("N"))
			leave(r, s)
			r.write(c, startup) // asks for the database that only the other pool has
			end := r.expectEnd(NoBackend)
			if end.Backend != "" || end.Pool != other.Name() {
				t.Errorf("ended with %+v: that backend is not one of its pool's", end)
			}
		})
	}
	gone := func(r *rig) {
		r.until("it is let go", func() bool { return r.newest().backend == nil })
	}
	f("the backend is there", func(r *rig, s conn) {})
	f("the backend leaves", func(r *rig, s conn) { s.Close(); gone(r) })
	f("the backend goes down", func(r *rig, s conn) { r.srv.Redispatch(r.newest().backend); gone(r) })
}

// A backend that was asked for GSS encryption is let go when the client goes on with TLS of
// its own accord, or the session ends. Either way nothing of it is left.
func TestDirectTLSAfterNoGSS(t *testing.T) {
	r := newPostgresRig(t, rigConfig{})
	c := r.dial()
	r.write(c, gssRequest)
	s := r.accept()
	r.expect(s, gssRequest)
	r.write(s, []byte("N"))
	r.expect(c, []byte("N"))
	r.write(c, clientHello)
	r.until("the backend is let go", func() bool {
		n := r.pool.Backends()[0].Stats().Active
		return n == 0 || n == 1 && r.newest().state == stateRelaying
	})
}
