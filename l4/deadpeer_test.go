package l4

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

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

// silence makes a peer deaf: its kernel drops what comes for it, so that it
// acknowledges nothing any more, as if its machine were gone.
func silence(c conn) {
	drop := syscall.SockFilter{Code: syscall.BPF_RET | syscall.BPF_K}
	program := syscall.SockFprog{Len: 1, Filter: &drop}
	must(c.SyscallConn()).Control(func(fd uintptr) {
		if _, _, errno := syscall.Syscall6(syscall.SYS_SETSOCKOPT, fd, syscall.SOL_SOCKET, syscall.SO_ATTACH_FILTER,
			uintptr(unsafe.Pointer(&program)), unsafe.Sizeof(program), 0); errno != 0 {
			panic(errno)
		}
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
// that; one that was never active costs none at all.
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
				last := r.now
				r.now = first + tick
				r.until("the look is put off", func() bool { return r.newest().lookAt != first })
				if got := r.newest().lookAt; got != last+quiet {
					t.Errorf("the next look is %v after the last byte, want %v", got-last, quiet)
				}
				r.acknowledged()
				r.now = last + quiet + tick
				r.until("the peers were looked at", func() bool { return r.newest().lookAt == 0 })
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
		if got := r.userTimeouts(); got != dead || r.newest().ends[near].ready&spared != 0 {
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
		r.fillUp(ends[near.other()])
		r.now += limit
		r.until("the bound is lifted", func() bool { return r.newest().ends[near].ready&spared != 0 })
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

// A backend that is gone before it has answered is exchanged for another one: the
// kernel tells.
func TestDeadBackendBeforeAnswer(t *testing.T) {
	listeners, addresses := listenMany(t, 2)
	r := newPostgresRig(t, rigConfig{backends: addresses, retries: 1, dead: [2]time.Duration{0, time.Second}})
	c := r.dial()
	r.until("it is taken", func() bool { return r.newest() != nil })
	raw := make(chan conn, 1)
	go func() {
		s, err := listeners[0].Accept()
		if err != nil {
			return
		}
		silence(s.(conn))
		raw <- s.(conn)
	}()
	r.write(c, startup[:len(startup)-1])
	r.step()
	r.write(c, startup[len(startup)-1:])
	good := r.acceptFrom(listeners[1])
	r.expect(good, startup)
	(<-raw).Close()
	r.write(good, loginAnswer(cancelKey(1, 4)))
	r.expect(c, loginAnswer(cancelKey(1, 4)))
	r.expectActive(0, 1)
}

// With the kernel's clock: those who are gone end in time, whoever owes what; those
// who are there stay, whether they read or not.
func TestDeadPeers(t *testing.T) {
	const limit = time.Second
	ends := make(chan End, 10)
	back := listenTCP(t, "127.0.0.1:0")
	p := newPool(t, 1, 0, tcpAddress(back.Addr()))
	srv := startServer(t, 1, p, ListenerConfig{DeadPeer: limit, Target: Target{DeadPeer: limit}}, func(e End) { ends <- e })
	defer shutDown(t, srv)
	began := time.Now()
	pair := func() (ends [2]conn) {
		c := must(net.Dial("tcp", srv.testAddress()))
		s := must(back.Accept())
		for side, end := range []net.Conn{c, s} {
			end.SetDeadline(began.Add(patient))
			t.Cleanup(func() { end.Close() })
			ends[side] = end.(conn)
		}
		talkOnce(t, ends)
		return ends
	}
	want := map[Reason]int{}
	bothSides(t, func(t *testing.T, near side) {
		for _, owed := range []bool{false, true} {
			gone := pair()
			silence(gone[near])
			if owed {
				writeAll(gone[near.other()], []byte("is anybody there?"))
			}
			want[resetBy(near)]++
		}
	})
	idle, lazy, busy := pair(), [2][2]conn{pair(), pair()}, pair()
	var sent [2]int
	chunk := make([]byte, 256<<10)
	var others sync.WaitGroup
	for near := range lazy {
		others.Go(func() {
			for quiet := 0; quiet < 50; quiet++ { // they do not read
				if n := trySend(lazy[near][1-near], chunk); n > 0 {
					sent[near] += n
					quiet = 0
				}
				wait(2*time.Millisecond, func() bool { return false })
			}
		})
	}
	others.Wait()
	for range 4 {
		e := <-ends
		if e.Errno != syscall.ETIMEDOUT || want[e.Reason] == 0 {
			t.Errorf("ended with %+v, want ETIMEDOUT", e)
		}
		want[e.Reason]--
		if took := time.Since(began); took < limit/2 || took > 6*limit {
			t.Errorf("%v after %v, want about %v", e.Reason, took, limit)
		}
	}
	for time.Since(began) < 4*limit {
		talkOnce(t, busy)
	}
	select {
	case e := <-ends:
		t.Fatalf("a peer that is there was given up: %+v", e)
	default:
	}
	talkOnce(t, idle)
	for near := range lazy {
		if _, err := io.CopyN(io.Discard, lazy[near][near], int64(sent[near])); err != nil {
			t.Errorf("side %d reads at last: %v", near, err)
		}
		talkOnce(t, lazy[near])
	}
}

func talkOnce(t *testing.T, ends [2]conn) {
	t.Helper()
	for from := range ends {
		message := fmt.Append(nil, "ping from ", from)
		if err := errors.Join(writeAll(ends[from], message), readAll(ends[1-from], message)); err != nil {
			t.Fatal(err)
		}
	}
}
