package l4

import (
	"bytes"
	"fmt"
	"syscall"
	"testing"
	"time"

	"sluice/sysutil"
)

// handOver writes data to one side of a session whose other peer reads nothing, and
// waits until the kernel has all of it.
func (r *rig) handOver(near side, ends [2]conn, data []byte) {
	r.t.Helper()
	far := near.other()
	ends[far].SetReadBuffer(bufferSize)
	fd := int(r.newest().ends[far].fd)
	syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, 4*len(data))
	r.putAll(ends[near], data)
	r.until("the kernel has all", func() bool { return r.newest().halves[near].bytes == uint64(len(data)) })
	if owed, errno := sysutil.Owed(fd); owed == 0 {
		r.t.Fatalf("nothing lies in the kernel, %v", errno)
	}
}

// expectStalled lets time go by until the only session ends. It may take no longer than a
// limit, counted from when the peer's kernel last took something: it does so now and then
// without anybody reading (tcp_persist_timer).
func (r *rig) expectStalled(limit time.Duration, want Reason) {
	r.t.Helper()
	const steps = 20
	var active time.Duration
	for s := r.newest(); s != nil; s = r.newest() {
		if active = s.active; r.now-active > limit+limit/steps+tick {
			r.t.Fatalf("it goes on %v after something was taken, want %v", r.now-active, limit)
		}
		r.now += limit / steps
		r.settle()
	}
	if r.now-active < limit {
		r.t.Errorf("ended %v after something was taken, want %v", r.now-active, limit)
	}
	r.expectEnd(want)
}

// readSlowly reads from the peer at one side, as much each time that a step of time goes
// by as the kernel notices, until it has so many bytes.
func (r *rig) readSlowly(ends [2]conn, from side, size int, step time.Duration) (data []byte) {
	r.t.Helper()
	fd := int(r.newest().ends[from].fd)
	buf := make([]byte, 16<<10)
	for len(data) < size {
		before, _ := sysutil.Owed(fd)
		r.until("bytes are acknowledged, or there are no more", func() bool {
			n, err := receiveNow(ends[from], buf)
			if err != nil && err != syscall.EAGAIN {
				r.t.Fatalf("after %d of %d bytes: %v", len(data), size, err)
			}
			data = append(data, buf[:n]...)
			owed, errno := sysutil.Owed(fd)
			return owed != before || errno != 0 || len(data) >= size
		})
		r.now += step
		r.settle()
	}
	return data
}

// A peer that reads slowly is alive, whatever part of the data lies in the kernel: all
// of it, or more than the kernel and a pipe can take.
func TestSlowPeer(t *testing.T) {
	f := func(name string, size int, c rigConfig, closes bool) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			bothSides(t, func(t *testing.T, near side) {
				r := newRig(t, c)
				ends := r.pair()
				data := theStream[:size]
				r.handOver(near, ends, data)
				if closes {
					ends[near].CloseWrite()
					r.until("the FIN is passed on", func() bool { return r.newest().halves[near].done })
				}
				got := r.readSlowly(ends, near.other(), size, 20*time.Second)
				if !bytes.Equal(got, data) {
					t.Errorf("%s is not what was sent", brief(got))
				}
				if len(r.ended) > 0 {
					t.Fatalf("the session has ended: %+v", r.ended[0])
				}
				if closes {
					r.expectFIN(ends[near.other()])
				}
				r.exchange(ends[near.other()], ends[near], 1) // and the other way
			})
		})
	}
	dead := [2]time.Duration{50 * time.Second, 50 * time.Second}
	f("after FIN", 400<<10, rigConfig{fin: 30 * time.Second}, true)
	f("after FIN, with dead peers", 400<<10, rigConfig{fin: 30 * time.Second, dead: dead}, true)
	f("idle", 400<<10, rigConfig{idle: 30 * time.Second}, false)
	f("idle, after FIN", 400<<10, rigConfig{idle: 30 * time.Second}, true)
}

// One that takes nothing is not spared for what the kernel holds for it.
func TestStalledPeer(t *testing.T) {
	for _, closes := range []bool{false, true} {
		t.Run(fmt.Sprintf("FIN %v", closes), func(t *testing.T) {
			bothSides(t, func(t *testing.T, near side) {
				r := newRig(t, rigConfig{fin: 30 * time.Second, idle: 30 * time.Second})
				ends := r.pair()
				r.handOver(near, ends, theStream[:400<<10])
				want := IdleTimeout
				if closes {
					want = FinTimeout
					ends[near].CloseWrite()
					r.until("the FIN is passed on", func() bool { return r.newest().halves[near].done })
				}
				r.expectStalled(30*time.Second, want)
			})
		})
	}
}

// Who has been told all is closed in order, even when the other direction is cut.
func TestFinTimeoutAfterDelivery(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		r := newRig(t, rigConfig{fin: 30 * time.Second})
		ends := r.pair()
		r.exchange(ends[near], ends[near.other()], 1)
		ends[near].CloseWrite()
		r.expectFIN(ends[near.other()])
		r.write(ends[near.other()], []byte("the beginning of an answer"))
		r.expect(ends[near], []byte("the beginning of an answer"))
		r.acknowledged()
		r.now += 30*time.Second + tick
		r.expectEnd(FinTimeout)
		r.expectFIN(ends[near.other()])
		r.expectReset(ends[near], nil)
	})
}

// The list of sessions does not call one idle whose peer reads on.
func TestIdleOfSlowPeer(t *testing.T) {
	r := newRig(t, rigConfig{})
	ends := r.pair()
	r.handOver(client, ends, theStream[:400<<10])
	r.now += time.Minute
	r.step()
	if got := r.loop.describe(r.newest()).Idle; got != time.Minute {
		t.Errorf("idle for %v, want a minute: nobody has asked before", got)
	}
	r.readSlowly(ends, server, 200<<10, 0)
	if got := r.loop.describe(r.newest()).Idle; got != 0 {
		t.Errorf("idle for %v, want 0: the server has read some", got)
	}
}
