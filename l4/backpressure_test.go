package l4

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"syscall"
	"testing"

	"sluice/pool"
	"sluice/sysutil"
)

const bufferSize = 96 << 10

// smallBuffers makes the kernel's share of what can pile up small, at all four
// sockets of a session, so that sluice's own share shows.
func (r *rig) smallBuffers(ends [2]conn) {
	for _, c := range ends {
		c.SetReadBuffer(bufferSize)
		c.SetWriteBuffer(bufferSize)
	}
	for _, end := range r.newest().ends {
		syscall.SetsockoptInt(int(end.fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, bufferSize)
		syscall.SetsockoptInt(int(end.fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, bufferSize)
	}
}

// trySend writes what the kernel takes at once.
func trySend(c conn, data []byte) int {
	n, _ := sendNow(c, data)
	return n
}

// sendNow sends what fits now: nothing and EAGAIN when nothing does.
func sendNow(c conn, data []byte) (n int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	raw.Write(func(fd uintptr) bool {
		n, err = syscall.SendmsgN(int(fd), data, nil, nil, syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
		return true
	})
	return max(n, 0), err
}

// tryReceive reads what is there: nothing and no error when nothing is.
func tryReceive(c conn) (data []byte) {
	buf := make([]byte, 1<<10)
	n, _ := receiveNow(c, buf)
	return buf[:n]
}

// receiveNow is recv(2) without waiting.
func receiveNow(c conn, buf []byte) (n int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	raw.Read(func(fd uintptr) bool {
		n, _, err = syscall.Recvfrom(int(fd), buf, syscall.MSG_DONTWAIT)
		return true
	})
	return max(n, 0), err
}

// fillUp sends until nothing is accepted any more and the loop is quiet. It
// returns what was accepted.
func (r *rig) fillUp(c conn) (accepted []byte) {
	r.t.Helper()
	chunk := random(7, 64<<10)
	for quiet := 0; quiet < 30; quiet++ {
		if n := trySend(c, chunk); n > 0 {
			accepted = append(accepted, chunk[:n]...)
			quiet = 0
		}
		if len(accepted) > 64<<20 {
			r.t.Fatal("64 MiB were accepted for a peer that does not read")
		}
		r.step()
	}
	return accepted
}

// heldBack checks that one direction holds no more than it may.
func (r *rig) heldBack(h *half) {
	r.t.Helper()
	if cap(h.held) > scratchSize {
		r.t.Errorf("%d bytes of buffer are held, want at most %d", cap(h.held), scratchSize)
	}
	if h.pipe != nil && h.pipe.Len() > spliceLimit {
		r.t.Errorf("%d bytes lie in the pipe, want at most %d", h.pipe.Len(), spliceLimit)
	}
	if h.pipe != nil && len(h.held) > 0 {
		r.t.Error("both a pipe and a buffer hold bytes")
	}
}

// One side does not read for the whole test. What its peer can send is
// bounded, the other direction does not notice, and in the end every byte
// arrives.
func TestStalledReader(t *testing.T) {
	const kernel = 8 * bufferSize // four buffers, doubled by the kernel for its own book-keeping
	f := func(name string, near side, pipes *sysutil.PipeBudget, own int) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigConfig{pipes: pipes})
			ends := r.pair()
			r.smallBuffers(ends)
			far := ends[near.other()]
			r.newest().halves[near].streak = streakLimit // as after a stream
			sent := r.fillUp(ends[near])
			h := &r.newest().halves[near]
			if !h.unsent() {
				t.Fatal("nothing is unsent")
			}
			if (h.pipe != nil) != (pipes == nil) {
				t.Errorf("bytes in a pipe: %v, want %v", h.pipe != nil, pipes == nil)
			}
			r.heldBack(h)
			r.exchange(far, ends[near], 200)
			sent = append(sent, r.fillUp(ends[near])...)
			if bound := kernel + own; len(sent) > bound {
				t.Errorf("%d bytes were accepted after a while, want at most %d", len(sent), bound)
			}
			r.heldBack(h)
			r.drainStalled(ends[near], far, sent)
			if pipes := r.srv.pipes.Lent(); pipes != 0 {
				t.Errorf("%d pipes are lent after everything was read", pipes)
			}
		})
	}
	bothSides(t, func(t *testing.T, near side) {
		name := [...]string{client: "server does not read", server: "client does not read"}[near]
		f(name+", splice", near, nil, spliceLimit)
		f(name+", copy", near, sysutil.NewPipeBudget(0, PipeSize), scratchSize)
	})
}

// exchange sends messages from one end to the other, one after the other.
func (r *rig) exchange(from, to conn, n int) {
	r.t.Helper()
	for i := range n {
		message := random(byte(i), 1+i*13%900)
		r.write(from, message)
		r.expect(to, message)
	}
}

// drainStalled reads what was stalled, and then some more that is sent
// meanwhile, up to a FIN.
func (r *rig) drainStalled(from, to conn, stalled []byte) {
	r.t.Helper()
	more := random(8, 3<<20)
	want := sha256.Sum256(append(bytes.Clone(stalled), more...))
	digest := sha256.New()
	r.both(
		func() error { return errors.Join(writeAll(from, more), from.CloseWrite()) },
		func() error { _, err := io.Copy(digest, to); return err },
	)
	if !bytes.Equal(digest.Sum(nil), want[:]) {
		r.t.Error("what arrived is not what was sent")
	}
}

// A client that sends before its backend has answered the connect is held back
// by the kernel alone.
func TestSendWhileConnecting(t *testing.T) {
	backlog := newBacklog(t)
	r := newRig(t, rigConfig{backends: []pool.Address{backlog.address}})
	c := r.dial()
	first := r.fillUp(c)
	s := r.newest()
	if s == nil || s.state != stateConnecting {
		t.Fatalf("session %+v, want one that is connecting", s)
	}
	if s.halves[client].unsent() || s.opening != nil {
		t.Error("a connecting session holds bytes")
	}
	listener := backlog.serve(t)
	server := r.acceptFrom(listener) // when the kernel has sent its SYN again
	r.while("read at the server", func() error { return readAll(server, first) })
	c.CloseWrite()
	r.expectFIN(server)
}

// Both directions are stalled at once, and let go one after the other.
func TestBothStalled(t *testing.T) {
	r := newRig(t, rigConfig{})
	ends := r.pair()
	r.smallBuffers(ends)
	sent := [2][]byte{client: r.fillUp(ends[client]), server: r.fillUp(ends[server])}
	s := r.newest()
	r.heldBack(&s.halves[client])
	r.heldBack(&s.halves[server])
	r.while("read at the client", func() error { return readAll(ends[client], sent[server]) })
	r.while("read at the server", func() error { return readAll(ends[server], sent[client]) })
	r.exchange(ends[client], ends[server], 20)
	r.exchange(ends[server], ends[client], 20)
}
