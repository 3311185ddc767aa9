package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// tick is how often a slow peer moves what its rate allows.
	tick = 50 * time.Millisecond
	// atOnce is how much a peer that is not slow moves with one call.
	atOnce = 64 << 10
	seeEnd = -1 // as a number of bytes to receive: all until the end
)

// A peer is one end of a connection, and what it has seen. A script makes it act. Once a call has failed, the ones that
// would go on in its direction do nothing.
type peer struct {
	conn  *net.TCPConn
	other *peer
	give  noise // what it sends
	want  noise // what it must receive

	sent, got atomic.Int64
	over      atomic.Bool  // its script has ended, or will never begin
	late      atomic.Int64 // ns, the longest that it was slower than it was to be
	sawEnd    atomic.Bool
	writeErr  error // of whoever sends, as readErr is of whoever receives: at most one goroutine each
	readErr   error
	closed    bool
}

// newPeers makes the ends of a connection that is yet to be made.
func newPeers() (client, server *peer) {
	client = &peer{give: newNoise(seedUp), want: newNoise(seedDown)}
	server = &peer{give: newNoise(seedDown), want: newNoise(seedUp)}
	client.other, server.other = server, client
	return client, server
}

// act runs a script on one end of a connection, which it closes.
func (p *peer) act(conn *net.TCPConn, script func(*peer)) {
	p.conn = conn
	conn.SetDeadline(time.Now().Add(2 * patient))
	script(p)
	conn.Close()
}

// send sends n bytes as fast as the other end takes them.
func (p *peer) send(n int64) { p.sendIn(n, atOnce, 0) }

// sendIn sends n bytes, size with each call, at most rate a second; 0 = as fast as possible.
func (p *peer) sendIn(n, size, rate int64) {
	pace := p.newPace(rate)
	data := make([]byte, size)
	for n > 0 && p.writeErr == nil {
		data = data[:min(pace.allows(size), n)]
		p.give.Read(data)
		_, p.writeErr = p.conn.Write(data)
		n -= int64(len(data))
		p.sent.Add(int64(len(data)))
	}
}

// sendSlowly sends n bytes, rate a second.
func (p *peer) sendSlowly(n, rate int64) { p.sendIn(n, atOnce, rate) }

// sendUntilFailure sends a little again and again, to find out whether anybody is there.
func (p *peer) sendUntilFailure() {
	for p.writeErr == nil {
		p.send(100)
		time.Sleep(pollEvery)
	}
}

// sendUrgent sends a byte of urgent data, which is not part of the stream.
func (p *peer) sendUrgent() {
	p.control(func(fd int) error { return syscall.Sendto(fd, []byte{'!'}, syscall.MSG_OOB, nil) })
}

// cork holds bytes back until the FIN can go with them.
func (p *peer) cork() {
	p.control(func(fd int) error { return syscall.SetsockoptInt(fd, syscall.SOL_TCP, syscall.TCP_CORK, 1) })
}

func (p *peer) control(act func(fd int) error) {
	raw, err := p.conn.SyscallConn()
	if err == nil {
		err = errors.Join(raw.Control(func(fd uintptr) { err = act(int(fd)) }), err)
	}
	if p.writeErr == nil {
		p.writeErr = err
	}
}

// receive takes n bytes as fast as they come, or seeEnd.
func (p *peer) receive(n int64) { p.receiveSlowly(n, 0) }

// receiveSlowly takes n bytes, or all, rate a second; 0 = as they come.
func (p *peer) receiveSlowly(n, rate int64) {
	pace := p.newPace(rate)
	for data := make([]byte, atOnce); n != 0 && p.readErr == nil && !p.sawEnd.Load(); {
		size := pace.allows(atOnce)
		if n > 0 {
			size = min(size, n)
		}
		got, err := p.conn.Read(data[:size])
		p.take(data[:got], err)
		if n > 0 {
			n -= int64(got)
		}
	}
}

// take notes what a read has returned.
func (p *peer) take(data []byte, err error) {
	want := make([]byte, len(data))
	p.want.Read(want)
	switch {
	case !bytes.Equal(data, want):
		p.readErr = wrongBytes(p.got.Load())
	case err == io.EOF:
		p.sawEnd.Store(true)
	default:
		p.readErr = err
	}
	p.got.Add(int64(len(data)))
}

// misread reports whether the bytes that the peer got were wrong after so many.
func (p *peer) misread(after int64) bool {
	var wrong wrongBytes
	return errors.As(p.readErr, &wrong) && int64(wrong) == after
}

// wrongBytes is how many bytes were right before.
type wrongBytes int64

func (w wrongBytes) Error() string { return fmt.Sprintf("wrong bytes after %d", int64(w)) }

// finish sends FIN: the peer has nothing more to say, and goes on to receive.
func (p *peer) finish() {
	if p.writeErr == nil {
		p.writeErr = p.conn.CloseWrite()
	}
}

// close closes the connection. When there are bytes that it has not received, that is a reset.
func (p *peer) close() {
	p.closed = true
	p.conn.Close()
}

// reset cuts the connection.
func (p *peer) reset() {
	p.conn.SetLinger(0)
	p.close()
}

// both runs two parts of a script at once: one that sends, one that receives.
func (p *peer) both(send, receive func()) {
	var sending sync.WaitGroup
	sending.Go(send)
	receive()
	sending.Wait()
}

// untilOther waits until something is true of the other end.
func (p *peer) untilOther(is func(*peer) bool) {
	for deadline := time.Now().Add(2 * patient); !is(p.other) && !p.other.over.Load() && time.Now().Before(deadline); {
		time.Sleep(pollEvery)
	}
}

// untilTaken waits until the other end has received n bytes.
func (p *peer) untilTaken(n int64) { p.untilOther(func(o *peer) bool { return o.got.Load() >= n }) }

// untilSent waits until the other end has sent n bytes.
func (p *peer) untilSent(n int64) { p.untilOther(func(o *peer) bool { return o.sent.Load() >= n }) }

// untilEndSeen waits until the other end has received everything, and the FIN.
func (p *peer) untilEndSeen() { p.untilOther(func(o *peer) bool { return o.sawEnd.Load() }) }

// pause does nothing for a while.
func (p *peer) pause(d time.Duration) { p.sleepUntil(time.Now().Add(d)) }

func (p *peer) sleepUntil(t time.Time) {
	if time.Until(t) <= 0 {
		return // it has waited for the other end
	}
	time.Sleep(time.Until(t))
	if late := int64(time.Since(t)); late > p.late.Load() {
		p.late.Store(late)
	}
}

// A pace keeps a peer from being faster than its rate.
type pace struct {
	p     *peer
	rate  int64 // bytes a second; 0 = no bound
	began time.Time
	moved int64
}

func (p *peer) newPace(rate int64) *pace { return &pace{p: p, rate: rate, began: time.Now()} }

// allows waits until something may be moved, and returns how much, most at the most.
func (c *pace) allows(most int64) int64 {
	if c.rate == 0 {
		return most
	}
	c.p.sleepUntil(c.began.Add(time.Duration(c.moved) * time.Second / time.Duration(c.rate)).Add(tick))
	due := int64(time.Since(c.began).Seconds()*float64(c.rate)) - c.moved
	n := max(1, min(due, most))
	c.moved += n
	return n
}

// saw says how many bytes the peer has received, each as it was sent, and how the connection ended for it. What has cut
// it may be told to whoever reads or to whoever writes, and to one of them only (SO_ERROR in socket(7)). Where the FIN has come
// before the reset, a write fails with EPIPE (tcp_reset of the kernel).
func (p *peer) saw(cut bool) string {
	amount := fmt.Sprint(p.got.Load())
	if cut && p.got.Load() > 0 {
		amount = "some"
	}
	has := func(target error) bool { return errors.Is(p.readErr, target) || errors.Is(p.writeErr, target) }
	switch {
	case has(syscall.ECONNRESET):
		return amount + " RST"
	case p.sawEnd.Load() && p.writeErr == nil:
		return amount + " FIN"
	case p.sawEnd.Load() && has(syscall.EPIPE):
		return amount + " FIN RST"
	case p.closed:
		return amount + " closed"
	}
	return fmt.Sprintf("%s %v", amount, errors.Join(p.readErr, p.writeErr)) // whatever else: not what any scenario means
}
