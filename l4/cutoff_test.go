package l4

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/pool"
)

// A server has said all it had to say, and has gone in good order. Whatever takes it
// down afterwards, its client gets the rest, and then the session ends.
func TestCutSparesFinished(t *testing.T) {
	f := func(name string, size int, unsent bool, c rigConfig) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			bothSides(t, func(t *testing.T, near side) {
				r := newRig(t, c)
				ends := r.pair()
				b := r.pool.Backends()[0]
				data := theStream[:size]
				if unsent {
					r.leaveUnsent(near, ends, data)
				} else {
					r.handOver(near, ends, data)
				}
				ends[near].CloseWrite()
				r.until("the FIN is seen", func() bool { return r.newest().finSeen() })
				if r.settle(); unsent && r.newest().halves[near].done {
					t.Fatal("the kernel has taken all")
				}
				r.endSessions(b, 0, 0)
				r.endSessions(b, 1, 0) // it is not found again
				got := r.readSlowly(ends, near.other(), len(data), 20*time.Second)
				if !bytes.Equal(got, data) {
					t.Errorf("%s is not what was sent", brief(got))
				}
				r.expectFIN(ends[near.other()])
				for i := 0; len(r.ended) == 0; i++ { // the other direction is open
					if i > 100 {
						t.Fatal("the session goes on after all was delivered")
					}
					r.now += cutLook
					r.settle()
				}
				r.expectEnd(BackendDown)
				r.expectReset(ends[near], nil)
			})
		})
	}
	f("in the kernel", 400<<10, false, rigConfig{fin: 30 * time.Second})
	f("in the kernel, no fin timeout", 400<<10, false, rigConfig{idle: time.Hour})
	f("in the pipe, too", 700<<10, true, rigConfig{fin: 30 * time.Second})
}

// The same when the client still says something, which makes the server's kernel reset the
// connection to it.
func TestResetAfterFINSparesFinished(t *testing.T) {
	for _, unsent := range []bool{false, true} {
		t.Run(fmt.Sprintf("unsent %v", unsent), func(t *testing.T) {
			bothSides(t, func(t *testing.T, near side) {
				r := newRig(t, rigConfig{fin: 30 * time.Second})
				ends := r.pair()
				data := theStream[:700<<10]
				if unsent {
					r.leaveUnsent(near, ends, data)
				} else {
					data = data[:400<<10]
					r.handOver(near, ends, data)
				}
				ends[near].Close()
				r.until("the FIN is seen", func() bool { return r.newest().finSeen() })
				r.write(ends[near.other()], []byte("goodbye"))
				r.until("it is answered with a reset", func() bool {
					s := r.newest()
					return s == nil || s.cut != noReason
				})
				var got []byte
				if unsent {
					// What the kernel takes meanwhile may hide at one look what the peer has taken.
					got = r.readSlowly(ends, near.other(), 300<<10, 10*time.Second)
				}
				rest, err := r.rest(ends[near.other()])
				if got = append(got, rest...); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%s and then %v, want what was sent and FIN", brief(got), err)
				}
				if end := r.expectDelivered(); end.Reason != closedBy(near) {
					t.Errorf("ended with %v", end.Reason)
				}
			})
		})
	}
}

// A FIN alone is owed as well, by a peer that was sent nothing before it: whoever waits for it to be taken ends then.
func TestCutSparesBareFIN(t *testing.T) {
	f := func(name string, cut func(r *rig, near conn), reason func(near side) Reason) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			bothSides(t, func(t *testing.T, near side) {
				r := newRig(t, rigConfig{fin: time.Hour})
				ends := r.pair()
				far := ends[near.other()]
				silence(far) // or its kernel acknowledges the FIN now or in 40 ms, as it likes
				ends[near].CloseWrite()
				r.until("the FIN is passed on", func() bool { return r.newest().halves[near].done })
				cut(r, ends[near])
				r.until("it waits", func() bool { return r.newest().cut != noReason })
				r.now += cutLook
				if r.settle(); len(r.ended) != 0 {
					t.Fatalf("ended before the FIN was taken: %+v", r.ended[0])
				}
				syscall.SetsockoptInt(descriptor(far), syscall.SOL_SOCKET, syscall.SO_DETACH_FILTER, 0)
				r.acknowledged() // when it is sent again
				r.now += cutLook
				if r.settle(); len(r.ended) == 0 {
					t.Fatal("the session goes on after the FIN was taken")
				}
				r.expectEnd(reason(near))
				r.expectFIN(far)
			})
		})
	}
	f("reset", func(_ *rig, near conn) { reset(near) }, closedBy)
	f("backend down", func(r *rig, _ conn) { r.endSessions(r.pool.Backends()[0], 0, 0) }, func(side) Reason { return BackendDown })
}

// leaveUnsent writes data to one side of a session whose other peer reads nothing. The
// kernel does not take all of it.
func (r *rig) leaveUnsent(near side, ends [2]conn, data []byte) {
	r.t.Helper()
	ends[near.other()].SetReadBuffer(bufferSize)
	fd := int(r.newest().ends[near.other()].fd)
	syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, bufferSize)
	r.putAll(ends[near], data)
}

// A peer that takes nothing holds a session that is cut no longer than any other.
func TestCutBounded(t *testing.T) {
	f := func(name string, c rigConfig, limit time.Duration) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c)
			ends := r.pair()
			r.handOver(server, ends, theStream[:400<<10])
			ends[server].CloseWrite()
			r.until("the FIN is passed on", func() bool { return r.newest().halves[server].done })
			r.endSessions(r.pool.Backends()[0], 0, 0)
			r.expectStalled(limit, BackendDown)
		})
	}
	f("fin", rigConfig{fin: 30 * time.Second, idle: time.Hour}, 30*time.Second)
	f("idle", rigConfig{idle: time.Minute}, time.Minute)
	f("neither", rigConfig{}, cutPatience)
}

// What is not finished is cut at once, in both directions.
func TestCutUnfinished(t *testing.T) {
	r := newRig(t, rigConfig{fin: 30 * time.Second})
	ends := r.pair()
	r.handOver(server, ends, theStream[:400<<10])
	r.endSessions(r.pool.Backends()[0], 0, 1)
	r.expectEnd(BackendDown)

	ends = r.pair() // finished and delivered: nothing to wait for
	ends[client].CloseWrite()
	r.expectFIN(ends[server])
	r.acknowledged()
	r.endSessions(r.pool.Backends()[0], 0, 1)
	r.expectEnd(BackendDown)
	r.expectFIN(ends[server])
}

// The end of the process is a cut like the others: what a peer has finished saying gets
// to the other one, from the process or, once the kernel has all of it, without it.
func TestShutdownSparesFinished(t *testing.T) {
	for _, size := range []int{300 << 10, 3 << 20} {
		back := listenTCP(t, "127.0.0.1:0")
		var cut atomic.Int64
		srv := startServer(t, 2, newPool(t, 2, 0, tcpAddress(back.Addr())), ListenerConfig{}, func(e End) {
			if e.Reason == Shutdown {
				cut.Add(1)
			}
		})
		c := must(net.Dial("tcp", srv.testAddress())).(*net.TCPConn)
		defer c.Close()
		c.SetReadBuffer(bufferSize)
		s := must(back.Accept()).(*net.TCPConn)
		s.SetWriteBuffer(8 << 20)
		if n := trySend(s, theStream[:size]); n < size {
			t.Fatalf("%d of %d bytes were taken", n, size)
		}
		s.Close()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		done := shutdownInBackground(ctx, srv)
		var got []byte
		buf := make([]byte, 8<<10)
		for {
			n, err := c.Read(buf)
			got = append(got, buf[:n]...)
			if n == 0 {
				if err == nil || err.Error() != "EOF" {
					t.Errorf("after %d of %d bytes: %v, want the end", len(got), size, err)
				}
				break
			}
		}
		if !bytes.Equal(got, theStream[:size]) {
			t.Errorf("%s is not what was sent", brief(got))
		}
		<-done
		if n := cut.Load(); n > 1 {
			t.Errorf("%d sessions were cut, there was one", n)
		}
	}
}

// EndAll ends those that a shutdown would wait for.
func TestEndAll(t *testing.T) {
	back := listenTCP(t, "127.0.0.1:0")
	srv := startServer(t, 1, newPool(t, 1, 0, tcpAddress(back.Addr())), ListenerConfig{FinTimeout: time.Hour}, nil)
	c := must(net.Dial("tcp", srv.testAddress())).(*net.TCPConn)
	defer c.Close()
	c.SetReadBuffer(bufferSize)
	s := must(back.Accept()).(*net.TCPConn)
	s.SetWriteBuffer(32 << 20)
	for trySend(s, theStream) == len(theStream) { // more than the way to the client holds
	}
	s.CloseWrite()
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := shutdownInBackground(ctx, srv)
	srv.EndAll()
	if err := <-done; err == nil {
		t.Error("Shutdown has cut nothing")
	}
}

// On Unix sockets, where nothing is acknowledged, what counts is what was read.
func TestSlowPeerUnix(t *testing.T) {
	dir := t.TempDir()
	back := must(net.Listen("unix", filepath.Join(dir, "backend")))
	defer back.Close()
	r := newRig(t, rigConfig{
		bind: []pool.Address{{Unix: filepath.Join(dir, "front")}}, backends: []pool.Address{{Unix: back.Addr().String()}},
		fin: 30 * time.Second,
	})
	ends := [2]conn{client: r.dial()}
	ends[server] = r.acceptFrom(back)
	data := theStream[:150<<10]
	r.putAll(ends[client], data)
	r.until("the kernel has all", func() bool { return r.newest().halves[client].bytes == uint64(len(data)) })
	ends[client].CloseWrite()
	r.until("the FIN is passed on", func() bool { return r.newest().halves[client].done })
	if got := r.readSlowly(ends, server, len(data), 20*time.Second); !bytes.Equal(got, data) {
		t.Errorf("%s is not what was sent", brief(got))
	}
	r.expectFIN(ends[server])
}
