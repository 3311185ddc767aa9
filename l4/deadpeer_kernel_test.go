package l4

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"sluice/sysutil/systest"
)

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
	r.until("it is asked", func() bool { return r.newest().state == stateAnswering })
	r.now += guardAfter
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
	config := ListenerConfig{DeadPeer: limit, Target: Target{DeadPeer: limit}}
	srv := startServer(t, 1, p, config, func(e End) { ends <- e })
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
				systest.Wait(2*time.Millisecond, func() bool { return false })
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
		if took := time.Since(began); took < limit/2 {
			t.Errorf("%v after %v, want %v", e.Reason, took, limit)
		}
	}
	for time.Since(began) < 3*limit+limit/2 {
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
