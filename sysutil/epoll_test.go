package sysutil

import (
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newPoller(t *testing.T, batch int) *Poller {
	t.Helper()
	p, err := NewPoller(batch)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// events waits for events and returns the readiness by token. A signal, which
// the Go runtime sends itself now and then, ends a wait early.
func events(t *testing.T, p *Poller, timeout time.Duration) map[uint64]Ready {
	t.Helper()
	dst := make([]Event, 16)
	got := map[uint64]Ready{}
	for range 100 {
		n, err := p.Wait(dst, timeout)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range dst[:n] {
			got[e.Token] = e.Ready
		}
		if n > 0 || timeout == 0 {
			break
		}
	}
	return got
}

const token = 0xfedcba9876543210 // all 64 bits come back

// A session's events are edges: each is told once.
func TestEdges(t *testing.T) {
	checkFiles(t)
	a, b := tcpPair(t)
	closing(t, b)
	p := newPoller(t, 16)
	if errno := p.AddConnecting(b, token); errno != 0 {
		t.Fatal(errno)
	}
	expect := func(what string, want Ready) {
		t.Helper()
		if got := events(t, p, patient)[token]; got != want {
			t.Errorf("%s: %#x, want %#x", what, got, want)
		}
		if got := events(t, p, 0); len(got) != 0 {
			t.Errorf("%s was told twice: %#x", what, got)
		}
	}
	expect("connected", Writable)
	Send(a, []byte("x"))
	expect("data", Readable|Writable)
	Send(a, []byte("x"))
	expect("more data", Readable|Writable)
	if err := unix.Send(a, []byte("!"), unix.MSG_OOB); err != nil {
		t.Fatal(err)
	}
	expect("urgent data", Readable|Writable|Urgent)
	CloseWrite(a)
	expect("FIN", Readable|Writable|Urgent|PeerClosed)
	Reset(a)
	expect("RST", Readable|Writable|Urgent|PeerClosed|HungUp|Failed)
}

// While input is ignored, data makes no event; FIN and RST do, and what came meanwhile is told once it is heeded again.
func TestIgnoreInput(t *testing.T) {
	checkFiles(t)
	a, b := tcpPair(t)
	closing(t, b)
	p := newPoller(t, 16)
	if errno := p.AddConnecting(b, token); errno != 0 {
		t.Fatal(errno)
	}
	events(t, p, patient) // writable
	if errno := p.IgnoreInput(b, token); errno != 0 {
		t.Fatal(errno)
	}
	events(t, p, patient) // writable, as after every change
	Send(a, []byte("x"))
	await(t, b, unix.POLLIN)
	if got := events(t, p, 0); got[token]&Readable != 0 {
		t.Errorf("data was told while it was ignored: %#x", got)
	}
	CloseWrite(a)
	await(t, b, unix.POLLRDHUP)
	if got := events(t, p, patient)[token]; got&PeerClosed == 0 || got&Readable != 0 {
		t.Errorf("events %#x after FIN, want the FIN and no data", got)
	}
	if errno := p.Heed(b, token); errno != 0 {
		t.Fatal(errno)
	}
	if got := events(t, p, patient)[token]; got&Readable == 0 {
		t.Errorf("events %#x, want what came while it was ignored", got)
	}
	if errno := p.IgnoreInput(b, token); errno != 0 {
		t.Fatal(errno)
	}
	Reset(a)
	await(t, b, unix.POLLERR)
	for got := Ready(0); got&Failed == 0; {
		got = events(t, p, patient)[token]
		if got == 0 {
			t.Fatal("a reset was not told while input was ignored")
		}
	}
}

// A listener's events are levels: they are told while a connection waits.
func TestLevels(t *testing.T) {
	checkFiles(t)
	listener := closing(t, listenAny(t, "127.0.0.1:0"))
	p := newPoller(t, 16)
	if errno := p.AddListener(listener, token); errno != 0 {
		t.Fatal(errno)
	}
	sa := TCPSockaddr(localAddr(t, listener))
	c, errno := Connect(&sa)
	if errno != 0 {
		t.Fatal(errno)
	}
	closing(t, c)
	for range 3 {
		if got := events(t, p, patient); got[token] != Readable {
			t.Fatalf("events %#x, want readable", got)
		}
	}
	if errno := p.Remove(listener); errno != 0 {
		t.Fatal(errno)
	}
	if got := events(t, p, 0); len(got) != 0 {
		t.Errorf("events %#x of a listener that was removed", got)
	}
	if errno := p.Remove(listener); errno != syscall.ENOENT {
		t.Errorf("Remove again: %v, want ENOENT", errno)
	}
	if errno := p.AddListener(listener, token); errno != 0 {
		t.Fatal(errno)
	}
	if got := events(t, p, patient); got[token] != Readable {
		t.Errorf("events %#x of a listener that was added again, want readable", got)
	}
}

// A batch is never larger than what either side has room for; the rest comes with the next.
func TestBatches(t *testing.T) {
	checkFiles(t)
	f := func(batch, room int) {
		t.Helper()
		p := newPoller(t, batch)
		for i := range 5 {
			w, err := NewWaker()
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if errno := p.AddReadable(w.Fd(), uint64(i)); errno != 0 {
				t.Fatal(errno)
			}
			w.Wake()
		}
		seen := map[uint64]bool{}
		dst := make([]Event, room)
		for range 5 {
			n, err := p.Wait(dst, 0)
			if err != nil || n > min(batch, room) {
				t.Fatalf("batch %d, room %d: %d events, %v", batch, room, n, err)
			}
			for _, e := range dst[:n] {
				seen[e.Token] = true
			}
		}
		if len(seen) != 5 {
			t.Errorf("batch %d, room %d: %d descriptors were told, want 5", batch, room, len(seen))
		}
	}
	f(16, 2)
	f(2, 16)
	f(1, 1)
}

func TestWaitTimeout(t *testing.T) {
	checkFiles(t)
	p := newPoller(t, 1)
	f := func(timeout, atLeast time.Duration) {
		t.Helper()
		for range 10 { // a signal may end some of the waits early
			start := time.Now()
			if n, err := p.Wait(make([]Event, 1), timeout); n != 0 || err != nil {
				t.Errorf("Wait(%v) for nothing: %d, %v", timeout, n, err)
			}
			if took := time.Since(start); took >= atLeast && took < patient {
				return
			}
		}
		t.Errorf("Wait(%v) does not wait as long", timeout)
	}
	f(0, 0)
	f(time.Nanosecond, 500*time.Microsecond) // rounded up: it must not spin
	f(3*time.Millisecond, 3*time.Millisecond)
}

func TestMilliseconds(t *testing.T) {
	f := func(d time.Duration, want int) {
		t.Helper()
		if got := milliseconds(d); got != want {
			t.Errorf("milliseconds(%v) = %d, want %d", d, got, want)
		}
	}
	f(-1, -1)
	f(0, 0)
	f(1, 1)
	f(time.Millisecond, 1)
	f(time.Millisecond+1, 2)
	f(time.Hour, 3_600_000)
	f(1000*time.Hour, 1<<31-1)
}

// A wake from another goroutine ends a wait for ever, whether it comes before or during it, and many wakes are one.
func TestWaker(t *testing.T) {
	checkFiles(t)
	p := newPoller(t, 4)
	w, err := NewWaker()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if errno := p.AddReadable(w.Fd(), token); errno != 0 {
		t.Fatal(errno)
	}
	for i := range 100 {
		done := make(chan struct{})
		go func() {
			for range i % 3 {
				w.Wake()
			}
			w.Wake()
			close(done)
		}()
		if got := events(t, p, -1); got[token] != Readable {
			t.Fatalf("events %#x, want readable", got)
		}
		<-done
		w.Clear()
		w.Clear() // does not block
		if got := events(t, p, 0); len(got) != 0 {
			t.Fatalf("events %#x after Clear", got)
		}
	}
}

func TestPollerErrors(t *testing.T) {
	checkFiles(t)
	p := newPoller(t, 1)
	if errno := p.AddConnecting(-1, token); errno != syscall.EBADF {
		t.Errorf("AddConnecting of no descriptor: %v, want EBADF", errno)
	}
	a, b := tcpPair(t)
	closing(t, a)
	closing(t, b)
	if errno := p.AddConnecting(a, token); errno != 0 {
		t.Fatal(errno)
	}
	if errno := p.AddConnecting(a, token); errno != syscall.EEXIST {
		t.Errorf("AddConnecting twice: %v, want EEXIST", errno)
	}
	closed, err := NewPoller(1)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if _, err := closed.Wait(make([]Event, 1), 0); err == nil {
		t.Error("Wait on a closed poller: no error")
	}
}
