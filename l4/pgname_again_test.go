package l4

import (
	"fmt"
	"net"
	"testing"
	"time"

	"sluice/l4/route"
)

// againRig is a rig whose sessions go to the pool "all" with their SSLRequest, and to "apps" with
// their start-up.
func againRig(t *testing.T, c rigConfig) *routedRig {
	t.Helper()
	c.protocol = ProtocolPostgres
	return newRoutedRig(t, c, 2, "all", routeTo{route.Rule{Database: []string{"app"}}, "apps"})
}

// toldNo opens a session whose first backend has refused the connect and whose second one has
// said that it does not encrypt. It may have left since.
func (r *routedRig) toldNo(left bool) conn {
	r.t.Helper()
	c := r.dialNow()
	r.put(c, sslRequest)
	s := r.take(r.at["all"][1])
	r.get(s, sslRequest)
	r.put(s, []byte("N"))
	r.get(c, []byte("N"))
	if left {
		s.Close()
		r.until("the slot is given back", func() bool { return r.pools["all"].Backends()[1].Stats().Active == 0 })
	}
	return c
}

// What one pool has cost a session does not count in the next one, which it has not tried: neither
// the backends tried there, nor the time.
func TestPgnameOtherPoolAfresh(t *testing.T) {
	for _, left := range []bool{false, true} {
		t.Run(fmt.Sprint("the backend has left: ", left), func(t *testing.T) { otherPoolAfresh(t, left) })
	}
}

func otherPoolAfresh(t *testing.T, left bool) {
	config := rigConfig{retries: 1, connect: 5 * time.Second, peek: time.Minute}
	t.Run("retries", func(t *testing.T) {
		r := againRig(t, config)
		r.at["all"][0].Close()
		r.at["apps"][0].Close()
		c := r.toldNo(left)
		r.put(c, startupOf("alice", "app"))
		r.until("it is tried", func() bool { return len(r.dials) >= 3 })
		r.settle()
		if len(r.ended) > 0 {
			t.Fatalf("ended with %+v, though there is another backend to try", r.ended[0])
		}
		ends := r.expectHello(c, r.at["apps"][1], startupOf("alice", "app"))
		r.put(ends[server], loginAnswer(cancelKey(1, 4)))
		r.get(c, loginAnswer(cancelKey(1, 4)))
		r.quick(ends)
		reset(c)
		if end := r.expectEnd(ClientReset); end.Retries != 2 || end.Backend != "apps1" {
			t.Errorf("ended with %+v, want 2 retries: one in each pool", end)
		}
	})
	t.Run("count", func(t *testing.T) {
		r := againRig(t, config)
		r.at["all"][0].Close()
		c := r.toldNo(left)
		r.put(c, startupOf("alice", "app"))
		r.expectHello(c, r.at["apps"][0], startupOf("alice", "app"))
		reset(c)
		if end := r.expectEnd(ClientReset); end.Retries != 1 {
			t.Errorf("%d retries, want 1: the first backend of another pool is none", end.Retries)
		}
	})
	t.Run("time to connect", func(t *testing.T) {
		silent := newBacklog(t)
		config := config
		config.listener = func(l *ListenerConfig) {
			l.Routes[0].Target.Pool = newPool(t, 1, 0, silent.address)
		}
		r := againRig(t, config)
		r.at["all"][0].Close()
		c := r.toldNo(left)
		r.now += 4900 * time.Millisecond // the client takes its time
		r.put(c, startupOf("alice", "app"))
		r.untilConnecting()
		r.now += 4 * time.Second
		r.turns(3)
		if len(r.ended) > 0 {
			t.Fatalf("ended with %+v after 4s of a connect that has 5s", r.ended[0])
		}
		r.now += time.Second + tick
		r.expectEnd(ConnectTimeout)
	})
}

// The same of the time in the queue.
func TestPgnameOtherQueueAfresh(t *testing.T) {
	r := againRig(t, rigConfig{maxConns: 1, queueMax: 5, queueTimeout: 10 * time.Second, peek: time.Minute})
	full := [2]net.Conn{}
	for i := range full {
		c := r.dialNow()
		r.put(c, startupOf("alice", "app"))
		full[i] = r.expectHello(c, r.at["apps"][i], startupOf("alice", "app"))[server]
		r.put(full[i].(conn), loginAnswer(cancelKey(byte(i), 4)))
		r.get(c, loginAnswer(cancelKey(byte(i), 4)))
	}
	for _, b := range r.pools["all"].Backends() {
		b.SetUp(false)
	}
	c := r.dialNow()
	r.put(c, sslRequest)
	r.until("it waits", func() bool { return r.pools["all"].Waiting() == 1 })
	r.now += 8 * time.Second
	r.pools["all"].Backends()[1].SetUp(true)
	s := r.take(r.at["all"][1])
	r.get(s, sslRequest)
	r.put(s, []byte("N"))
	r.get(c, []byte("N"))
	r.put(c, startupOf("alice", "app"))
	r.until("it waits", func() bool { return r.pools["apps"].Waiting() == 1 })
	r.now += 9 * time.Second
	r.turns(3)
	if len(r.ended) > 0 {
		t.Fatalf("ended with %+v after 9s in a queue of 10s", r.ended[0])
	}
	r.now += time.Second + tick
	if end := r.expectEnd(QueueTimeout); end.Waited < 18*time.Second {
		t.Errorf("waited %v, want the time in both queues", end.Waited)
	}
}
