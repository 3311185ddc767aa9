package l4

import (
	"syscall"
	"testing"
	"time"
)

// descriptor is the number of a connection's descriptor, for system calls that
// cost the test nothing. The connection stays open for the test.
func descriptor(c conn) (fd int) {
	must(c.SyscallConn()).Control(func(n uintptr) { fd = int(n) })
	return fd
}

// relayMessage sends one message through a session and takes it at the end.
func relayMessage(tb testing.TB, l *loop, from, to int, message, buf []byte) {
	if _, err := syscall.Write(from, message); err != nil {
		tb.Fatal(err)
	}
	for range 1000 {
		if err := l.runOnce(0); err != nil {
			tb.Fatal(err)
		}
		if n, err := syscall.Read(to, buf); err == nil {
			if n != len(message) {
				tb.Fatalf("%d bytes arrived, want %d", n, len(message))
			}
			return
		}
	}
	tb.Fatal("the message did not arrive")
}

func TestMessageAllocatesNothing(t *testing.T) {
	r := newRig(t, rigConfig{idle: time.Minute})
	ends := r.pair()
	fds := [2]int{descriptor(ends[client]), descriptor(ends[server])}
	message, buf := random(1, 64), make([]byte, 1<<10)
	if n := testing.AllocsPerRun(1000, func() {
		r.now += time.Millisecond // timers fire now and then
		relayMessage(t, r.loop, fds[client], fds[server], message, buf)
		relayMessage(t, r.loop, fds[server], fds[client], message, buf)
	}); n != 0 {
		t.Errorf("%v allocations per message and answer, want none", n)
	}
}

// Nor does a Postgres session whose login was in clear, with an eye on dead peers.
func TestPostgresMessageAllocatesNothing(t *testing.T) {
	r := newPostgresRig(t, rigConfig{
		idle: time.Hour, dead: [2]time.Duration{50 * time.Second, 20 * time.Second}, queueMax: 10, maxConns: 1,
	})
	ends := r.login(cancelKey(1, 4))
	r.exchange(ends[client], ends[server], 1)
	fds := [2]int{descriptor(ends[client]), descriptor(ends[server])}
	message, buf := random(1, 64), make([]byte, 1<<10)
	if n := testing.AllocsPerRun(1000, func() {
		r.now += time.Second // peers are looked at now and then
		relayMessage(t, r.loop, fds[client], fds[server], message, buf)
		relayMessage(t, r.loop, fds[server], fds[client], message, buf)
	}); n != 0 {
		t.Errorf("%v allocations per message and answer, want none", n)
	}
}

// Nor do the things that happen beside messages: timers that are moved, turns
// that are queued, tokens that are stale.
func TestHousekeepingAllocatesNothing(t *testing.T) {
	r := newRig(t, rigConfig{idle: time.Minute})
	r.pair()
	s := r.newest()
	stale := token(s.slot)<<slotShift | token(s.generation+1)
	if n := testing.AllocsPerRun(1000, func() {
		r.loop.enqueue(s)
		r.loop.dispatch(stale, 0)
		r.loop.rearm(s)
		if err := r.loop.runOnce(0); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per turn, want none", n)
	}
}

// A stream in splice mode uses its pipe over and over.
func TestStreamAllocatesNothing(t *testing.T) {
	r := newRig(t, rigConfig{})
	ends := r.pair()
	r.streamBothWays(ends, 8<<20) // pipes and buffers are there now
	fds := [2]int{descriptor(ends[client]), descriptor(ends[server])}
	message, buf := random(1, 40<<10), make([]byte, 64<<10)
	h := &r.newest().halves[client]
	if n := testing.AllocsPerRun(200, func() {
		h.streak = streakLimit
		if _, err := syscall.Write(fds[client], message); err != nil {
			t.Fatal(err)
		}
		for got := 0; got < len(message); {
			if err := r.loop.runOnce(0); err != nil {
				t.Fatal(err)
			}
			if n, err := syscall.Read(fds[server], buf); err == nil {
				got += n
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations per spliced message, want none", n)
	}
}

func BenchmarkMessage(b *testing.B) {
	l, fds := benchSession(b)
	message, buf := random(1, 64), make([]byte, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		relayMessage(b, l, fds[client], fds[server], message, buf)
	}
}

func BenchmarkWheel(b *testing.B) {
	w, _ := newTestWheel(1000)
	now := time.Hour
	w.advance(now, nil)
	b.ReportAllocs()
	for slot := int32(0); b.Loop(); slot = (slot + 1) % 1000 {
		now += 100 * time.Microsecond
		w.set(slot, now+time.Minute)
		w.advance(now, func(int32) {})
	}
}

// benchSession is a session on a loop that the benchmark runs itself.
func benchSession(b *testing.B) (*loop, [2]int) {
	r := newRig(b, rigConfig{})
	ends := r.pair()
	return r.loop, [2]int{descriptor(ends[client]), descriptor(ends[server])}
}
