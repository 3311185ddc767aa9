package l4

import (
	"testing"
	"time"

	"sluice/pool"
)

// A backend that has more time than its share, because there was no other one, has it for
// that step only: the answer to what it is sent next is awaited as long as any.
func TestMoreTimeIsForOneStep(t *testing.T) {
	f := func(name string, begin func(t *testing.T, r *rig, c conn, slow *backlog)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			slow, good := newBacklog(t), listenTCP(t, "127.0.0.1:0")
			r := newPostgresRig(t, rigConfig{
				backends: []pool.Address{slow.address, tcpAddress(good.Addr())}, connect: 5 * time.Second,
				peek: time.Minute, retries: 1,
			})
			r.pool.Backends()[1].SetUp(false)
			c := r.dial()
			begin(t, r, c, slow)
			r.expectState(stateAnswering)
			r.pool.Backends()[1].SetUp(true)
			r.now += 5*time.Second - tick
			r.settle()
			r.expectActive(1, 0)
			r.now += 2 * tick
			s := r.acceptFrom(good)
			r.expect(s, startup)
			r.write(s, loginAnswer(cancelKey(1, 4)))
			r.expect(c, loginAnswer(cancelKey(1, 4)))
			r.exchange(c, s, 2)
		})
	}
	f("connect", func(t *testing.T, r *rig, c conn, slow *backlog) {
		r.write(c, startup)
		r.until("the connect is under way", func() bool { return r.newest() != nil && r.newest().state == stateConnecting })
		r.now += 3 * time.Second
		r.until("it has had its share", func() bool { return r.newest().isLone() })
		s := r.acceptFrom(slow.serve(t)) // when the kernel has sent its SYN again
		r.expect(s, startup)
	})
	f("question for encryption", func(t *testing.T, r *rig, c conn, slow *backlog) {
		listener := slow.serve(t)
		r.write(c, sslRequest)
		s := r.acceptFrom(listener)
		r.expect(s, sslRequest)
		r.now += 6 * time.Second
		r.until("it has had its time", func() bool { return r.newest().isLone() })
		r.write(s, []byte("N"))
		r.expect(c, []byte("N"))
		r.write(c, startup)
		r.expect(s, startup)
	})
}
