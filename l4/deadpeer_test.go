package l4

import (
	"errors"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"sluice/pool"
	"sluice/sysutil"
)

const tcpUserTimeout = 0x12 // TCP_USER_TIMEOUT, which package syscall does not name

// socketOptions are: keepalives sent, when and how often in seconds, and the bound
// on unacknowledged data in milliseconds.
func socketOptions(t *testing.T, fd int32) (options [4]int) {
	t.Helper()
	for i, option := range [...][2]int{
		{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE}, {syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL}, {syscall.IPPROTO_TCP, tcpUserTimeout},
	} {
		options[i] = must(syscall.GetsockoptInt(int(fd), option[0], option[1]))
	}
	return options
}

// userTimeouts are the bounds on unacknowledged data at both ends of a session.
func (r *rig) userTimeouts() (timeouts [2]time.Duration) {
	r.t.Helper()
	for i, end := range r.newest().ends {
		ms := must(syscall.GetsockoptInt(int(end.fd), syscall.IPPROTO_TCP, tcpUserTimeout))
		timeouts[i] = time.Duration(ms) * time.Millisecond
	}
	return timeouts
}

// acknowledged waits until neither peer owes an acknowledgement. The rig's clock may
// run ahead of the kernel's, which delays some of them.
func (r *rig) acknowledged() {
	r.t.Helper()
	r.until("all is acknowledged", func() bool {
		a, _ := sysutil.DeliveryOf(int(r.newest().ends[client].fd))
		b, _ := sysutil.DeliveryOf(int(r.newest().ends[server].fd))
		return a.Owed == 0 && b.Owed == 0
	})
}

func TestDeadPeerOptions(t *testing.T) {
	none := [4]int{0, 7200, 75, 0}
	f := func(name string, dead [2]time.Duration, want [2][4]int) {
		t.Helper()
		for _, protocol := range []Protocol{ProtocolTCP, ProtocolPostgres} {
			t.Run(name+", "+protocol.String(), func(t *testing.T) {
				r := newRig(t, rigConfig{dead: dead, protocol: protocol})
				if protocol == ProtocolPostgres {
					r.login(cancelKey(1, 4))
				} else {
					r.pair()
				}
				r.now += guardAfter + tick
				r.settle()
				for side, end := range r.newest().ends {
					got := socketOptions(t, end.fd)
					if want[side][0] == 0 {
						got[1], got[2] = none[1], none[2] // whatever this machine has as a default
					}
					if got != want[side] {
						t.Errorf("side %d: options %v, want %v", side, got, want[side])
					}
				}
			})
		}
	}
	f("none", [2]time.Duration{}, [2][4]int{none, none})
	f("both", [2]time.Duration{50 * time.Second, 20 * time.Second}, [2][4]int{{1, 20, 10, 50000}, {1, 8, 4, 20000}})
	f("client", [2]time.Duration{5 * time.Second, 0}, [2][4]int{{1, 2, 1, 5000}, none})
	f("server", [2]time.Duration{0, 5 * time.Second}, [2][4]int{none, {1, 2, 1, 5000}})
}

// Unix sockets have no such thing, and work.
func TestDeadPeerUnix(t *testing.T) {
	dir := t.TempDir()
	back := must(net.Listen("unix", filepath.Join(dir, "backend")))
	defer back.Close()
	r := newRig(t, rigConfig{
		bind: []pool.Address{{Unix: filepath.Join(dir, "front")}}, backends: []pool.Address{{Unix: back.Addr().String()}},
		dead: [2]time.Duration{50 * time.Second, 50 * time.Second},
	})
	ends := [2]conn{client: r.dial()}
	ends[server] = r.acceptFrom(back)
	r.exchange(ends[client], ends[server], 3)
	accepted := r.fillUp(ends[server])
	for range 20 {
		r.now += 30 * time.Second
		r.settle()
	}
	if wait := r.loop.patience(); wait >= 0 {
		t.Errorf("the loop would wait %v, want for ever", wait)
	}
	r.while("read", func() error { return readAll(ends[client], accepted) })
}

// A session is looked at once after it has been active, and costs no timer after
// that; one that was never active costs none after its beginning.
func TestLookOncePerActivity(t *testing.T) {
	f := func(name string, dead [2]time.Duration, quiet time.Duration) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigConfig{dead: dead})
			ends := r.pair()
			r.settle()
			noTimer := func(what string) {
				t.Helper()
				if wait := r.loop.patience(); wait >= 0 || r.newest().lookAt != 0 {
					t.Errorf("%s: the loop would wait %v, and look at %v; want for ever", what, wait, r.newest().lookAt)
				}
			}
			r.now += guardAfter + tick
			r.settle()
			noTimer("no traffic")
			for range 3 {
				r.now += time.Hour
				r.exchange(ends[client], ends[server], 1)
				if quiet == 0 {
					noTimer("no bound")
					continue
				}
				first := r.newest().lookAt
				if first != r.now+quiet {
					t.Errorf("a look in %v, want in %v", first-r.now, quiet)
				}
				fires := r.newest().timer.at
				for range 5 { // messages do not move the timer
					r.now += quiet / 10
					r.exchange(ends[server], ends[client], 3)
					if s := r.newest(); s.lookAt != first || s.timer.at != fires {
						t.Fatalf("the look has moved from %v to %v", first, s.lookAt)
					}
				}
				r.acknowledged()
				r.now = first + tick
				r.until("the peers were looked at", func() bool { return r.newest().lookAt != first })
				if got := r.newest().lookAt; got != r.now+quiet {
					t.Errorf("bytes have moved since: the next look is in %v, want in %v", got-r.now, quiet)
				}
				r.now += quiet + tick
				r.until("no byte has moved since", func() bool { return r.newest().lookAt == 0 })
				noTimer("nothing is owed")
			}
			if got := r.userTimeouts(); got != dead {
				t.Errorf("bounds %v, want %v as in the beginning", got, dead)
			}
			r.exchange(ends[client], ends[server], 3)
		})
	}
	f("both", [2]time.Duration{50 * time.Second, 20 * time.Second}, 10*time.Second)
	f("client", [2]time.Duration{50 * time.Second, 0}, 25*time.Second)
	f("server", [2]time.Duration{0, 8 * time.Second}, 4*time.Second)
	f("none", [2]time.Duration{}, 0)
}

// The other timeouts go on to count as if there were no look.
func TestLookBesideTimeouts(t *testing.T) {
	r := newRig(t, rigConfig{dead: [2]time.Duration{50 * time.Second, 50 * time.Second}, idle: time.Minute, fin: 30 * time.Second})
	ends := r.pair()
	r.exchange(ends[client], ends[server], 1)
	r.acknowledged()
	r.now += 26 * time.Second
	r.until("the peers were looked at", func() bool { return r.newest().lookAt == 0 })
	r.now += 34*time.Second - time.Millisecond
	r.settle()
	if len(r.ended) > 0 {
		t.Fatalf("ended early: %+v", r.ended[0])
	}
	r.now += time.Millisecond + tick
	r.expectEnd(IdleTimeout)

	ends = r.pair()
	r.exchange(ends[client], ends[server], 1)
	ends[client].CloseWrite()
	r.expectFIN(ends[server])
	r.acknowledged()
	r.now += 27 * time.Second
	r.settle()
	r.now += 3*time.Second + tick
	r.expectEnd(FinTimeout)
}

// A peer that answers but does not read is kept for as long as it likes; once it has
// read all, the bound is back.
func TestPeerThatDoesNotRead(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		dead := [2]time.Duration{50 * time.Second, 40 * time.Second}
		r := newRig(t, rigConfig{dead: dead})
		ends := r.pair()
		r.now += guardAfter + tick
		r.settle()
		r.smallBuffers(ends)
		accepted := r.fillUp(ends[near.other()])
		if got := r.userTimeouts(); got != dead {
			t.Fatalf("bounds %v, want %v", got, dead)
		}
		r.now += 20*time.Second + tick
		lifted := dead
		lifted[near] = 0
		r.until("the bound is lifted", func() bool { return r.userTimeouts() == lifted })
		for range 30 {
			if wait := r.loop.patience(); wait < 0 || wait > dead[near]/2+tick {
				t.Fatalf("the next look is in %v, want within %v", wait, dead[near]/2)
			}
			r.now += dead[near] / 2
			r.settle()
		}
		if len(r.ended) > 0 {
			t.Fatalf("ended: %+v", r.ended[0])
		}
		if got := r.userTimeouts(); got != lifted {
			t.Errorf("bounds %v, want %v", got, lifted)
		}
		r.exchange(ends[near], ends[near.other()], 5) // the other way nothing is wrong

		r.drainStalled(ends[near.other()], ends[near], accepted)
		r.until("all is acknowledged", func() bool {
			r.now += time.Second
			return r.newest().lookAt == 0
		})
		if got := r.userTimeouts(); got != dead || r.newest().ends[near].ready&userTimeoutLifted != 0 {
			t.Errorf("bounds %v, want %v again", got, dead)
		}
	})
}

// A peer that does not answer is not spared: the kernel's bound ends it. It is
// looked at again soon, for the answer may just be on its way.
func TestSilentPeerIsNotSpared(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		dead := [2]time.Duration{80 * time.Second, 80 * time.Second}
		r := newRig(t, rigConfig{dead: dead})
		ends := r.pair()
		silence(ends[near])
		r.write(ends[near.other()], []byte("is anybody there?"))
		r.until("it is sent again", func() bool {
			return tcpInfo(t, int(r.newest().ends[near].fd))[2] > 0 // tcpi_retransmits
		})
		r.now += 40*time.Second + tick
		r.until("the peers were looked at", func() bool { return r.newest().lookAt > r.now })
		if got := r.newest().lookAt - r.now; got != 10*time.Second {
			t.Errorf("the next look is in %v, want 10s", got)
		}
		if got := r.userTimeouts(); got != dead {
			t.Errorf("bounds %v, want %v", got, dead)
		}
	})
}

// A peer that was spared and then goes is found here, for the kernel's bound is
// lifted.
func TestSparedPeerGoes(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		const limit = 400 * time.Millisecond
		r := newRig(t, rigConfig{dead: [2]time.Duration{limit, limit}})
		ends := r.pair()
		r.smallBuffers(ends)
		sysutil.SetUserTimeout(int(r.newest().ends[near].fd), 0) // the kernel's clock runs, the rig's stands still
		r.fillUp(ends[near.other()])
		r.now += limit
		r.until("it is spared", func() bool { return r.newest().ends[near].ready&userTimeoutLifted != 0 })
		silence(ends[near])
		r.until("the session ends", func() bool {
			r.now += limit / 10 // the kernel's own clock says how long it is silent
			return len(r.ended) > 0
		})
		if end := r.expectEnd(resetBy(near)); end.Errno != syscall.ETIMEDOUT {
			t.Errorf("ended with %+v, want ETIMEDOUT", end)
		}
		if _, err := r.rest(ends[near.other()]); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the other side read %v, want a reset", err)
		}
		r.expectEmpty()
	})
}
