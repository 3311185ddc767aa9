package l4

import (
	"bytes"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"sluice/pool"
	"sluice/sysutil"
)

// What still flows the other way does not keep a session that is cut: that direction
// would have ended at once.
func TestCutNotKeptByOtherDirection(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		r := newRig(t, rigConfig{fin: 30 * time.Second})
		ends := r.pair()
		r.handOver(near, ends, theStream[:400<<10])
		ends[near].CloseWrite()
		r.until("the FIN is passed on", func() bool { return r.newest().halves[near].done })
		r.settle()
		r.endSessions(r.pool.Backends()[0], 0, 0)
		for i := 0; len(r.ended) == 0; i++ {
			if i > 40 {
				t.Fatal("it goes on, although nothing of what was finished is taken")
			}
			r.write(ends[near.other()], []byte("x"))
			r.expect(ends[near], []byte("x"))
			r.now += 5 * time.Second
			r.settle()
		}
		r.expectEnd(BackendDown)
	})
}

// resetAfterFIN lets a side finish and then go, with more on its way than the kernel
// takes, until the other one hears of it.
func (r *rig) resetAfterFIN(near side) (ends [2]conn) {
	r.t.Helper()
	ends = r.pair()
	r.leaveUnsent(near, ends, theStream[:700<<10])
	ends[near].Close()
	r.until("the FIN is seen", func() bool { return r.newest().finSeen() })
	return ends
}

// Whoever takes nothing of what a side had said before it went has not got it: that is no
// clean end.
func TestStalledAfterReset(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		r := newRig(t, rigConfig{fin: 30 * time.Second})
		ends := r.resetAfterFIN(near)
		r.write(ends[near.other()], []byte("goodbye"))
		r.until("it is answered with a reset", func() bool { return r.newest().cut != noReason })
		r.expectStalled(30*time.Second, FinTimeout)
	})
}

// A side that resets before it has got all has not closed, nor has it if the other one did before.
func TestResetAfterReset(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		r := newRig(t, rigConfig{fin: 30 * time.Second})
		ends := r.resetAfterFIN(near)
		r.write(ends[near.other()], []byte("goodbye"))
		r.until("it is answered with a reset", func() bool { return r.newest().cut != noReason })
		reset(ends[near.other()])
		r.expectEnd(resetBy(near.other()))
	})
}

// The side that has finished is the one that is told of, when the session was to be cut.
func TestResetAfterFINOfCut(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		r := newRig(t, rigConfig{fin: 30 * time.Second})
		ends := r.resetAfterFIN(near)
		r.settle()
		r.endSessions(r.pool.Backends()[0], 0, 0)
		r.write(ends[near.other()], []byte("goodbye"))
		r.until("it is answered with a reset", func() bool { return r.newest().halves[near.other()].done })
		got := r.readSlowly(ends, near.other(), 300<<10, time.Second)
		rest, err := r.rest(ends[near.other()])
		if got = append(got, rest...); err != nil || !bytes.Equal(got, theStream[:700<<10]) {
			t.Errorf("%s and then %v, want what was sent and FIN", brief(got), err)
		}
		if end := r.expectDelivered(); end.Reason != closedBy(near) && end.Reason != BackendDown {
			t.Errorf("ended with %v", end.Reason)
		}
	})
}

// expectDelivered waits for the end of a session in which one side is gone and the other
// one has all.
func (r *rig) expectDelivered() End {
	r.t.Helper()
	r.until("the session ends", func() bool { r.now += tick; return len(r.ended) > r.checked })
	return r.expectEnd(r.ended[r.checked].Reason)
}

// A side that has finished and whose machine is gone since, with the connection, has
// said what it had to say.
func TestDeadAfterFINSparesFinished(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		r := newRig(t, rigConfig{fin: 30 * time.Second})
		ends := r.pair()
		data := theStream[:700<<10]
		r.leaveUnsent(near, ends, data)
		ends[near].CloseWrite()
		r.until("the FIN is seen", func() bool { return r.newest().finSeen() })
		r.settle()
		if r.loop.broken(r.newest(), near, syscall.ETIMEDOUT) != stateRelaying {
			t.Fatal("the session has ended")
		}
		got := r.readSlowly(ends, near.other(), 300<<10, time.Second)
		rest, err := r.rest(ends[near.other()])
		if got = append(got, rest...); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s and then %v, want what was sent and FIN", brief(got), err)
		}
		if end := r.expectDelivered(); end.Reason != closedBy(near) {
			t.Errorf("ended with %v", end.Reason)
		}
	})
}

// A server on a Unix socket that wants to read no more has not finished what it says.
func TestUnixServerReadsNoMore(t *testing.T) {
	back := must(net.Listen("unix", filepath.Join(t.TempDir(), "backend")))
	defer back.Close()
	r := newRig(t, rigConfig{backends: []pool.Address{{Unix: back.Addr().String()}}, fin: 30 * time.Second})
	ends := [2]conn{client: r.dial()}
	ends[server] = r.acceptFrom(back)
	r.exchange(ends[client], ends[server], 1)
	ends[server].(*net.UnixConn).CloseRead()
	r.write(ends[client], []byte("the rest of the request"))
	r.settle()
	for range 10 {
		r.now += cutLook
		r.settle()
	}
	if _, err := r.rest(ends[client]); err == nil {
		t.Error("the client reads a FIN in the middle of the answer")
	}
	r.expectEnd(ServerReset)
}

// What a server has said before it went is not lost with the rest of a request, which
// finds out that it is gone before its end has been read.
func TestWriteFindsResetAfterFIN(t *testing.T) {
	r := newRig(t, rigConfig{fin: 30 * time.Second})
	ends := r.pair()
	r.settle()
	s := r.newest()
	ends[client].SetReadBuffer(bufferSize)
	syscall.SetsockoptInt(int(s.ends[client].fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 1<<20)
	if n := trySend(ends[client], theStream[:256<<10]); n < 2*scratchSize {
		t.Fatalf("only %d bytes were taken", n)
	}
	answer := theStream[:50<<10]
	ends[server].SetWriteBuffer(1 << 20)
	if n := trySend(ends[server], answer); n != len(answer) {
		t.Fatalf("only %d bytes were taken", n)
	}
	ends[server].Close()
	r.loop.note(s, server, sysutil.Readable|sysutil.PeerClosed) // both are heard of in one batch, as of a stream
	r.loop.ready(s, client, sysutil.Readable)
	got, err := r.rest(ends[client])
	if err != nil || !bytes.Equal(got, answer) {
		t.Errorf("%s and then %v, want what was sent and FIN", brief(got), err)
	}
	if end := r.expectDelivered(); end.Reason != ServerClosed {
		t.Errorf("ended with %v", end.Reason)
	}
}

// What nobody takes any more, because the side that it was for is gone, is not waited for,
// when the other one finishes as well.
func TestFINTowardsGone(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		r := newRig(t, rigConfig{fin: time.Hour})
		ends := r.pair()
		data := theStream[:400<<10]
		r.handOver(near, ends, data)
		ends[near].Close()
		r.until("the FIN is passed on", func() bool { return r.newest().halves[near].done })
		r.write(ends[near.other()], []byte("goodbye"))
		r.until("it is answered with a reset", func() bool { return r.newest().cut != noReason })
		ends[near.other()].CloseWrite()
		if rest, err := r.rest(ends[near.other()]); err != nil || !bytes.Equal(rest, data) {
			t.Errorf("%s and then %v, want what was sent and FIN", brief(rest), err)
		}
		if end := r.expectDelivered(); end.Reason != closedBy(near) || end.Duration > time.Minute {
			t.Errorf("ended with %v after %v", end.Reason, end.Duration)
		}
	})
}
