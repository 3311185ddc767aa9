package l4

import (
	"syscall"
	"testing"

	"sluice/sysutil"
)

// Every way in which a kernel says that it cannot splice.
var refusals = []syscall.Errno{syscall.EINVAL, syscall.ENOSYS, syscall.EPERM, syscall.EOPNOTSUPP}

func TestSpliceRefused(t *testing.T) {
	for _, errno := range refusals {
		t.Run(errno.Error(), func(t *testing.T) {
			r := newRig(t, rigConfig{})
			ends := r.pair()
			defer sysutil.RefuseSplice(errno)()
			r.streamBothWays(ends, 4<<20)
			for side := range r.newest().halves {
				if !r.newest().halves[side].noSplice {
					t.Errorf("direction %d still tries to splice", side)
				}
			}
			r.exchange(ends[client], ends[server], 5)
		})
	}
}

// The kernel changes its mind while bytes lie in a pipe.
func TestSpliceRefusedMidStream(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		for _, errno := range refusals {
			t.Run(errno.Error(), func(t *testing.T) {
				r := newRig(t, rigConfig{})
				ends := r.pair()
				r.smallBuffers(ends)
				r.newest().halves[near].streak = streakLimit
				sent := r.fillUp(ends[near])
				h := &r.newest().halves[near]
				if h.pipe == nil {
					t.Fatal("no bytes lie in a pipe")
				}
				defer sysutil.RefuseSplice(errno)()
				r.drainStalled(ends[near], ends[near.other()], sent)
				if h.pipe != nil || r.srv.pipes.Lent() != 0 {
					t.Error("the pipe was not given back")
				}
			})
		}
	})
}

// Another failure than "cannot" is one of the connection.
func TestSpliceFails(t *testing.T) {
	r := newRig(t, rigConfig{})
	ends := r.pair()
	r.newest().halves[client].streak = streakLimit
	defer sysutil.RefuseSplice(syscall.ETIMEDOUT)()
	r.write(ends[client], []byte("x"))
	if end := r.expectEnd(ClientReset); end.Errno != syscall.ETIMEDOUT {
		t.Errorf("errno %v, want ETIMEDOUT", end.Errno)
	}
	r.expectReset(ends[server], nil)
}

func TestNoPipes(t *testing.T) {
	r := newRig(t, rigConfig{pipes: sysutil.NewPipeBudget(0, PipeSize)})
	ends := r.pair()
	r.streamBothWays(ends, 4<<20)
	if n := r.srv.pipes.Open(); n != 0 {
		t.Errorf("%d pipes are open, want none", n)
	}
	for side := range r.newest().halves {
		if r.newest().halves[side].noSplice {
			t.Errorf("direction %d has given up on splice", side)
		}
	}
}

// One pipe for all: who has none copies, and splices when there is one again.
func TestPipesExhausted(t *testing.T) {
	r := newRig(t, rigConfig{pipes: sysutil.NewPipeBudget(1, PipeSize)})
	one := r.pair()
	r.smallBuffers(one)
	r.newest().halves[client].streak = streakLimit
	stalled := r.newest()
	sent := r.fillUp(one[client])
	if stalled.halves[client].pipe == nil || r.srv.pipes.Lent() != 1 {
		t.Fatal("the stalled session does not hold the pipe")
	}
	two := r.pair()
	r.streamBothWays(two, 4<<20)
	r.drainStalled(one[client], one[server], sent)
	r.streamBothWays(two, 4<<20)
	if lent, open := r.srv.pipes.Lent(), r.srv.pipes.Open(); lent != 0 || open > 1 {
		t.Errorf("%d pipes are lent and %d open, want 0 and at most 1", lent, open)
	}
}

// A session that ends with bytes in its pipe must not leave them to the next.
func TestPipeOfEndedSession(t *testing.T) {
	r := newRig(t, rigConfig{pipes: sysutil.NewPipeBudget(1, PipeSize)})
	one := r.pair()
	r.smallBuffers(one)
	r.newest().halves[client].streak = streakLimit
	r.fillUp(one[client])
	if r.newest().halves[client].pipe == nil {
		t.Fatal("no bytes lie in a pipe")
	}
	reset(one[client])
	r.expectEnd(ClientReset)
	if n := r.srv.pipes.Lent(); n != 0 {
		t.Errorf("%d pipes are lent", n)
	}
	two := r.pair()
	r.newest().halves[client].streak = streakLimit
	r.streamBothWays(two, 2<<20)
}

// streamBothWays sends n random bytes each way at once and compares them.
func (r *rig) streamBothWays(ends [2]conn, n int) {
	r.t.Helper()
	up, down := random(1, n), random(2, n)
	r.both(
		func() error { return writeAll(ends[client], up) },
		func() error { return readAll(ends[server], up) },
		func() error { return writeAll(ends[server], down) },
		func() error { return readAll(ends[client], down) },
	)
}
