package l4

import (
	"testing"
	"time"

	"sluice/l4/pgwire"
	"sluice/l4/route"
)

// refusingRig is a rig whose only server has said to one client what it says to a question
// for encryption, and is down now.
func refusingRig(t *testing.T, c rigConfig, request []byte, answers ...string) *rig {
	t.Helper()
	r := newPostgresRig(t, c)
	for _, answer := range answers {
		var ends [2]conn
		ends[client] = r.dial()
		r.write(ends[client], request)
		ends[server] = r.accept()
		r.expect(ends[server], request)
		r.write(ends[server], []byte(answer))
		r.expect(ends[client], []byte(answer))
		r.leave(ends)
	}
	r.pool.Backends()[0].SetUp(false)
	return r
}

// Where servers say no to a question for encryption, a client that asks it is told no when
// there is no server, too, and then, in answer to its start-up, why.
func TestErrorAfterNo(t *testing.T) {
	f := func(name string, c rigConfig, request []byte, pass func(r *rig), want Reason) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := refusingRig(t, c, request, "N")
			asker := r.dial()
			r.write(asker, request)
			pass(r)
			r.expect(asker, []byte("N"))
			r.expectState(stateReadHello)
			r.expectActive(0)
			r.write(asker, startup)
			r.expectRefusal(asker, pgwire.CannotConnectNow)
			if end := r.expectEnd(want); end.Pool != "pool" || (end.Waited > 0) != (want == QueueTimeout) {
				t.Errorf("ended with %+v, want pool and its wait", end)
			}
			r.expectEmpty()
		})
	}
	now := func(*rig) {}
	later := func(r *rig) {
		r.expectWaiting(1)
		r.now += time.Minute + tick
	}
	waits := rigConfig{queueMax: 1, queueTimeout: time.Minute}
	f("no server", rigConfig{}, sslRequest, now, NoBackend)
	f("no server, GSS", rigConfig{}, gssRequest, now, NoBackend)
	f("after a wait", waits, sslRequest, later, QueueTimeout)
	t.Run("queue full", func(t *testing.T) {
		r := refusingRig(t, waits, sslRequest, "N")
		first, second := r.dial(), conn(nil)
		r.write(first, sslRequest)
		r.expectWaiting(1)
		second = r.dial()
		r.write(second, append(sslRequest, startup...))
		r.expect(second, []byte("N"))
		r.expectRefusal(second, pgwire.TooManyConnections)
		r.expectEnd(QueueFull)
		r.pool.Backends()[0].SetUp(true) // who waits is served as ever
		s := r.accept()
		r.expect(s, sslRequest)
		r.expectWaiting(0)
	})
}

// A client that wants encryption in any case leaves at a no. That is no clean end.
func TestErrorAfterNoClientLeaves(t *testing.T) {
	f := func(name string, leave func(r *rig, c conn)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := refusingRig(t, rigConfig{}, sslRequest, "N")
			c := r.dial()
			r.write(c, sslRequest)
			r.expect(c, []byte("N"))
			leave(r, c)
			r.expectEnd(NoBackend)
			r.expectEmpty()
		})
	}
	f("FIN", func(_ *rig, c conn) { c.Close() })
	f("reset", func(_ *rig, c conn) { reset(c) })
	f("silence", func(r *rig, _ conn) { r.now += time.Hour })
	f("nonsense", func(r *rig, c conn) { r.write(c, []byte("GET / HTTP/1.1\r\n\r\n")) })
	f("asks again", func(r *rig, c conn) { r.write(c, sslRequest) })
}

// Where servers encrypt, or nobody knows whether they do, a client's names stay as they
// are: the error is the answer to its question.
func TestErrorInsteadOfNo(t *testing.T) {
	f := func(name string, answers ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := refusingRig(t, rigConfig{}, sslRequest, answers...)
			c := r.dial()
			r.write(c, sslRequest)
			r.expectRefusal(c, pgwire.CannotConnectNow)
			r.expectEnd(NoBackend)
		})
	}
	f("not known")
	f("yes", "S")
	f("yes, then no", "S", "N")
	f("no, then yes", "N", "S")
	t.Run("no of another kind", func(t *testing.T) {
		r := refusingRig(t, rigConfig{}, gssRequest, "N")
		c := r.dial()
		r.write(c, gssRequest)
		r.expect(c, []byte("N"))
		r.write(c, sslRequest)
		r.expectRefusal(c, pgwire.CannotConnectNow)
		r.expectEnd(NoBackend)
	})
}

// After the no, the names in clear may lead to another pool, which has a server.
func TestErrorAfterNoOtherPool(t *testing.T) {
	config := rigConfig{protocol: ProtocolPostgres, peek: time.Minute}
	r := newRoutedRig(t, config, 1, "all", routeTo{route.Rule{Database: []string{"app"}}, "apps"})
	first := r.dialNow()
	r.put(first, sslRequest)
	s := r.take(r.at["all"][0])
	r.get(s, sslRequest)
	r.put(s, []byte("N"))
	r.get(first, []byte("N"))
	reset(first)
	r.expectEnd(ClientReset)
	s.Close()
	r.pools["all"].Backends()[0].SetUp(false)

	c := r.dialNow()
	r.put(c, sslRequest)
	r.get(c, []byte("N"))
	r.put(c, startupOf("alice", "app"))
	s = r.take(r.at["apps"][0])
	r.get(s, startupOf("alice", "app"))
	r.put(s, loginAnswer(cancelKey(1, 4)))
	r.get(c, loginAnswer(cancelKey(1, 4)))
	c.Close()
	s.Close()
	r.expectEnd(ClientClosed)

	c = r.dialNow()
	r.put(c, sslRequest)
	r.get(c, []byte("N"))
	r.put(c, startupOf("alice", "other"))
	r.expectRefusal(c, pgwire.CannotConnectNow)
	r.expectEnd(NoBackend)
}
