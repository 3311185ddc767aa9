package l4

import (
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"sluice/pool"
)

// A session that has failed on the only backend tries it again after a second: a
// server that restarts never looked down.
func TestTurnaround(t *testing.T) {
	fd, address := boundSocket(t)
	r := newPostgresRig(t, rigConfig{
		backends: []pool.Address{address}, queueMax: 10, queueTimeout: 10 * time.Second, retries: 5,
	})
	c := r.queueUp()
	for tries := 1; tries < 4; tries++ {
		if len(r.dials) != tries {
			t.Fatalf("%d connects, want %d", len(r.dials), tries)
		}
		r.now += turnaround - tick
		r.settle()
		if len(r.dials) != tries {
			t.Fatalf("%d connects before the turnaround, want %d", len(r.dials), tries)
		}
		r.now += 3 * tick
		r.until("it was tried again", func() bool { return len(r.dials) > tries && r.pool.Waiting() == 1 })
	}
	if err := syscall.Listen(fd, 10); err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(must(syscall.Dup(fd))), "listener")
	listener := must(net.FileListener(file))
	file.Close()
	t.Cleanup(func() { listener.Close() })
	r.now += turnaround + 2*tick
	s := r.acceptFrom(listener)
	r.expectServed(c, s)
	s.Close()
	r.expectFIN(c)
	c.Close()
	end := r.expectEnd(ServerClosed)
	if end.Retries != 4 || end.Waited < 4*turnaround || end.Waited > 4*turnaround+20*tick {
		t.Errorf("ended with %+v, want 4 retries a second apart", end)
	}
}

// retries bounds one round of tries. After a turnaround there is another one: it is the queue's timeout that ends the
// wait, and says why.
func TestTurnaroundUntilQueueTimeout(t *testing.T) {
	r := newPostgresRig(t, rigConfig{
		backends: []pool.Address{refusing(t)}, queueMax: 10, retries: 1, queueTimeout: 4*time.Second + turnaround/2,
	})
	c := r.queueUp()
	for range 4 {
		r.now += turnaround + tick
		r.settle()
	}
	r.now += turnaround
	r.expectRefusal(c, "57P03")
	if end := r.expectEnd(QueueTimeout); end.Retries != 4 || end.Errno != syscall.ECONNREFUSED || end.Backend != "b0" {
		t.Errorf("ended with %+v, want ECONNREFUSED by b0 after 4 retries", end)
	}
	r.expectDials(pool.DialRefused, pool.DialRefused, pool.DialRefused, pool.DialRefused, pool.DialRefused)
	r.expectEmpty()
}

// A backend that has been down and is up again need not be waited for.
func TestTurnaroundEndsWhenBackendReturns(t *testing.T) {
	r := newPostgresRig(t, rigConfig{backends: []pool.Address{refusing(t)}, queueMax: 10, retries: 5})
	r.queueUp()
	b := r.pool.Backends()[0]
	b.SetUp(false)
	r.settle()
	b.SetUp(true)
	r.until("it was tried again", func() bool { return len(r.dials) == 2 && r.pool.Waiting() == 1 })
	// A later one must not get the turn of the first, nor be held up by it.
	r.now += turnaround / 2
	r.dial()
	r.settle()
	r.now += turnaround/2 + 2*tick
	r.until("it was tried a third time", func() bool { return len(r.dials) == 3 })
}

// Who has been forgiven and still waits, waits for its backend alone.
func TestTurnaroundOnce(t *testing.T) {
	r := newPostgresRig(t, rigConfig{backends: []pool.Address{refusing(t)}, queueMax: 10, retries: 5})
	r.queueUp()
	b := r.pool.Backends()[0]
	b.SetUp(false)
	r.now += turnaround + tick
	r.until("it is forgiven", func() bool { return r.loop.patience() < 0 })
	r.expectWaiting(1)
	if tried := r.newest().failedOn(); len(tried) != 0 {
		t.Errorf("it is still barred from %d backends", len(tried))
	}
	b.SetUp(true)
	r.until("it was tried again", func() bool { return len(r.dials) == 2 })
}

// After a wait the connects have the whole time, whatever those before have used up.
func TestConnectTimeoutAfterWait(t *testing.T) {
	r := newPostgresRig(t, rigConfig{
		backends: []pool.Address{refusing(t), newBacklog(t).address}, queueMax: 10, retries: 5, connect: 3 * time.Second,
	})
	b := r.pool.Backends()
	b[1].SetUp(false)
	r.queueUp()
	b[0].SetUp(false)
	r.now += 2 * time.Second
	b[1].SetUp(true)
	r.until("it connects", func() bool { return r.newest().state == stateConnecting })
	r.now += 3*time.Second - time.Millisecond
	r.settle()
	r.expectDials(pool.DialRefused)
	r.now += time.Millisecond + tick
	r.until("the connect is given up", func() bool { return len(r.dials) == 2 })
}

// Another backend that comes up meanwhile serves at once a session that is barred from
// the first.
func TestTurnaroundAndAnother(t *testing.T) {
	good := listenTCP(t, "127.0.0.1:0")
	r := newPostgresRig(t, rigConfig{
		backends: []pool.Address{refusing(t), tcpAddress(good.Addr())}, queueMax: 10, retries: 5,
	})
	r.pool.Backends()[1].SetUp(false)
	c := r.queueUp()
	r.pool.Backends()[1].SetUp(true)
	r.expectServed(c, r.acceptFrom(good))
	r.expectActive(0, 1)
	r.expectDials(pool.DialRefused, pool.DialOK)
}

// A backend that says "not now" to everybody is waited for as one that refuses; the
// client hears nothing of it as long as it may wait.
func TestQueueAfterNotNow(t *testing.T) {
	r := newPostgresRig(t, rigConfig{queueMax: 10, queueTimeout: 2*time.Second + turnaround/2, retries: 2, send: ProxyV2})
	c := r.dial()
	header := r.headerFor(c, ProxyV2)
	r.write(c, startup)
	for range 3 {
		s := r.accept()
		r.expect(s, slices.Concat(header, startup))
		r.write(s, fatal("57P03"))
		r.expectFIN(s)
		r.expectWaiting(1)
		r.expectNothing(c)
		r.now += turnaround + tick
	}
	r.expectRefusal(c, "57P03")
	c.Close()
	if end := r.expectEnd(QueueTimeout); end.Retries != 2 || end.Waited < 2*turnaround {
		t.Errorf("ended with %+v, want 2 retries and 2s of waiting", end)
	}
	r.expectEmpty()
}
