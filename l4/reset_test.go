package l4

import (
	"bytes"
	"errors"
	"syscall"
	"testing"

	"sluice/pool"
)

// resetBy is the reason of an end in which a side's connection broke.
func resetBy(side side) Reason {
	if side == client {
		return ClientReset
	}
	return ServerReset
}

// expectReset checks that a connection yields want and is then reset.
func (r *rig) expectReset(c conn, want []byte) {
	r.t.Helper()
	data, err := r.rest(c)
	if !errors.Is(err, syscall.ECONNRESET) || !bytes.Equal(data, want) {
		r.t.Fatalf("read %s, %v; want %s and a reset", brief(data), err, brief(want))
	}
}

func TestResetIdle(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		r := newRig(t, rigConfig{})
		ends := r.pair()
		r.settle()
		r.exchange(ends[client], ends[server], 1) // or it would be a probe
		reset(ends[near])
		r.expectReset(ends[near.other()], nil)
		if end := r.expectEnd(resetBy(near)); end.Errno != syscall.ECONNRESET {
			t.Errorf("errno %v, want ECONNRESET", end.Errno)
		}
	})
}

// What the loop had passed on before the reset arrives, although the other
// side had not read it yet.
func TestResetAfterDelivery(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		r := newRig(t, rigConfig{})
		ends := r.pair()
		data := random(1, 10_000)
		r.write(ends[near], data)
		r.until("all was passed on", func() bool { return r.traffic() == uint64(len(data)) })
		reset(ends[near])
		r.expectReset(ends[near.other()], data)
		r.expectEnd(resetBy(near))
	})
}

// Data and RST lie in the kernel before the loop looks.
func TestResetInOneBatchWithData(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		for _, size := range []int{1, 1000, 20_000} {
			r := newRig(t, rigConfig{})
			ends := r.pair()
			r.settle()
			data := random(2, size)
			if _, err := ends[near].Write(data); err != nil {
				t.Fatal(err)
			}
			reset(ends[near])
			r.expectReset(ends[near.other()], data)
			r.expectEnd(resetBy(near))
		}
	})
}

// A server answers, and resets while the client still sends: the answer is what
// the client needs to know, and a write that fails must not come before it.
func TestResetWithLastWords(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		r := newRig(t, rigConfig{})
		ends := r.pair()
		r.settle()
		far := ends[near.other()]
		if _, err := far.Write([]byte("still sending")); err != nil {
			t.Fatal(err)
		}
		if _, err := ends[near].Write([]byte("last words")); err != nil {
			t.Fatal(err)
		}
		reset(ends[near])
		r.expectReset(far, []byte("last words"))
		r.expectEnd(resetBy(near))
	})
}

func TestResetMidTransfer(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		r := newRig(t, rigConfig{})
		ends := r.pair()
		far := ends[near.other()]
		data := random(3, 8<<20)
		r.both(
			func() error { return writeAll(ends[near], data[:6<<20]) },
			func() error { return readAll(far, data[:5<<20]) },
		)
		ends[near].SetWriteBuffer(1 << 20)
		if _, err := ends[near].Write(data[6<<20:][:1000]); err != nil {
			t.Fatal(err)
		}
		reset(ends[near])
		got, err := r.rest(far)
		if !errors.Is(err, syscall.ECONNRESET) || !bytes.HasPrefix(data[5<<20:], got) {
			t.Errorf("read %s, %v; want a part of what was sent and a reset", brief(got), err)
		}
		r.expectEnd(resetBy(near))
	})
}

// The side that reads nothing resets, or the side that sends to it does: both
// are news at once, however much is unsent.
func TestResetWhileStalled(t *testing.T) {
	f := func(name string, sender, resetter side) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigConfig{})
			ends := r.pair()
			r.smallBuffers(ends)
			r.fillUp(ends[sender])
			if !r.newest().halves[sender].unsent() {
				t.Fatal("nothing is unsent")
			}
			reset(ends[resetter])
			other := ends[resetter.other()]
			if _, err := r.rest(other); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the other side read %v, want a reset", err)
			}
			r.expectEnd(resetBy(resetter))
		})
	}
	f("client sends and resets", client, client)
	f("client sends, server resets", client, server)
	f("server sends and resets", server, server)
	f("server sends, client resets", server, client)
}

// A side that has said all it had to say, and then is gone, has closed.
func TestResetHalfClosed(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		r := newRig(t, rigConfig{})
		ends := r.pair()
		ends[near].CloseWrite()
		r.expectFIN(ends[near.other()])
		r.acknowledged() // a FIN that is not would still be delivered
		reset(ends[near])
		if end := r.expectEnd(closedBy(near)); end.Errno != syscall.EPIPE && end.Errno != syscall.ECONNRESET {
			t.Errorf("ended with %+v, want the errno too", end)
		}
		if _, err := ends[near.other()].Write([]byte("x")); !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a write after the reset: %v, want EPIPE or ECONNRESET", err)
		}
	})
}

// The other side of a half-closed session resets. Nothing is lost that somebody was to get, unless it is the answer to
// a client that still waits for it.
func TestResetTowardsHalfClosed(t *testing.T) {
	f := func(near side, answer string, want Reason) {
		t.Helper()
		r := newRig(t, rigConfig{})
		ends := r.pair()
		r.exchange(ends[client], ends[server], 1)
		r.write(ends[server], []byte(answer))
		r.expect(ends[client], []byte(answer))
		ends[near].CloseWrite()
		r.expectFIN(ends[near.other()])
		reset(ends[near.other()])
		r.expectReset(ends[near], nil)
		r.expectEnd(want)
	}
	f(server, "", ServerClosed)
	f(server, "answer", ServerClosed)
	f(client, "answer", ClientClosed)
	f(client, "", ServerReset)
}

// Two events for one session lie in one batch; the first ends it, the second
// finds that it is gone.
func TestResetByBothAtOnce(t *testing.T) {
	r := newRig(t, rigConfig{})
	ends := r.pair()
	r.settle()
	reset(ends[client])
	reset(ends[server])
	r.until("the session ends", func() bool { return len(r.ended) == 1 })
	if n := r.srv.Stats().Loops[0].StaleEvents; n != 1 {
		t.Errorf("%d stale events, want 1", n)
	}
}

func TestResetWhileConnecting(t *testing.T) {
	r := newRig(t, rigConfig{backends: []pool.Address{newBacklog(t).address}})
	c := r.dial()
	r.until("the connect is under way", func() bool { return r.newest() != nil })
	r.settle()
	if got := r.newest().state; got != stateConnecting {
		t.Fatalf("state %d, want connecting", got)
	}
	reset(c)
	end := r.expectEnd(ClientClosed)
	if end.Backend != "b0" || end.ConnectTime != 0 || end.Errno != syscall.ECONNRESET {
		t.Errorf("ended with %+v, want backend b0, no connect time, ECONNRESET", end)
	}
	r.expectEmpty()
}
