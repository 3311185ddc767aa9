package e2e

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// An upgradesLoad is what goes on beside the upgrades until it is stopped.
type upgradesLoad struct {
	t    *testing.T
	over chan struct{}
	all  sync.WaitGroup
	stop func() // and wait for all of it
}

func newUpgradesLoad(t *testing.T) *upgradesLoad {
	l := &upgradesLoad{t: t, over: make(chan struct{})}
	l.stop = sync.OnceFunc(func() {
		close(l.over)
		l.all.Wait()
	})
	t.Cleanup(l.stop)
	return l
}

// rest waits a little and reports whether to go on.
func (l *upgradesLoad) rest(d time.Duration) bool {
	select {
	case <-l.over:
	case <-time.After(d):
	}
	select {
	case <-l.over:
		return false
	default:
		return true
	}
}

// A flow is what went one way: the SHA-256 and the number of the bytes.
type flow struct {
	sum  [sha256.Size]byte
	size int64
	err  error
}

// expectSame checks that what was sent has been received.
func (f flow) expectSame(t *testing.T, what string, received flow) {
	t.Helper()
	if err := errors.Join(f.err, received.err); err != nil || f.size == 0 || f.size != received.size || f.sum != received.sum {
		t.Errorf("%s: %d bytes sent, %d received, SHA-256 %x and %x, %v", what, f.size, received.size, f.sum, received.sum, err)
	}
}

const (
	flowPiece = 64 << 10
	slowPiece = 2 << 10 // of a half-closed session
	flowPace  = 200 * time.Millisecond
	farewell  = 100_000 // bytes that a server sends that finishes first
)

// Seeds of what goes from the server to the client of that number, and the other way.
func serverSeed(id uint32) byte { return byte(2 * id) }
func clientSeed(id uint32) byte { return byte(2*id + 1) }

// send sends pieces of a size until the load is over, at a pace or (0) as fast as the other side reads, and finishes.
func (l *upgradesLoad) send(c net.Conn, seed byte, size int, pace time.Duration) (f flow) {
	sum, piece, data := sha256.New(), make([]byte, size), newNoise(seed)
	for more := true; more && f.err == nil; more = l.rest(pace) {
		_, _ = data.Read(piece)
		n, err := c.Write(piece)
		sum.Write(piece[:n])
		f.size, f.err = f.size+int64(n), err
	}
	sum.Sum(f.sum[:0])
	f.err = errors.Join(f.err, finish(c))
	return f
}

// flowOf sends so many bytes, and finishes.
func flowOf(c net.Conn, seed byte, size int64) (f flow) {
	sum := sha256.New()
	f.size, f.err = io.Copy(io.MultiWriter(onlyWriter{c}, sum), io.LimitReader(newNoise(seed), size))
	sum.Sum(f.sum[:0])
	f.err = errors.Join(f.err, finish(c))
	return f
}

// finish says that no more is sent.
func finish(c net.Conn) error { return c.(interface{ CloseWrite() error }).CloseWrite() }

// receive receives until the other side has finished. It rests between pieces until the load is over, or not at all.
func receive(c net.Conn, l *upgradesLoad) (f flow) {
	sum, piece := sha256.New(), make([]byte, flowPiece)
	for {
		n, err := c.Read(piece)
		sum.Write(piece[:n])
		if f.size += int64(n); err != nil {
			if f.err = err; err == io.EOF {
				f.err = nil
			}
			sum.Sum(f.sum[:0])
			return f
		}
		if l != nil {
			l.rest(flowPace)
		}
	}
}

// exchange sends and receives, both at once, until the load is over and the other side has finished. One side does both slowly, and
// so makes the pace: what the other one sends fills buffers and pipes.
func (l *upgradesLoad) exchange(c net.Conn, seed byte, slow bool) [2]flow {
	pace, reader := time.Duration(0), (*upgradesLoad)(nil)
	if slow {
		pace, reader = flowPace, l
	}
	sent := make(chan flow)
	go func() { sent <- l.send(c, seed, flowPiece, pace) }()
	got := receive(c, reader)
	return [2]flow{<-sent, got}
}

// A streaming is a session whose client and server send each other something until they are told to stop.
type streaming struct {
	id   uint32
	what string
	done chan [2]flow // what the client has sent and received
}

// openBulk begins the transfers.
func (r *upgradesRig) openBulk() (all []streaming) {
	for i := range uint32(r.plan.bulk) {
		s := streaming{id: i, what: fmt.Sprintf("transfer %d", i), done: make(chan [2]flow, 1)}
		c := r.open("tcp", r.values["bulk"], wantsBulk, i)
		go func() { s.done <- r.peers.bulk.exchange(c, clientSeed(i), i%2 == 1) }()
		all = append(all, s)
	}
	return all
}

// openHalves begins sessions of which one side is done.
func (r *upgradesRig) openHalves() (all []streaming) {
	for i := range uint32(r.plan.halves) {
		id, kind := uint32(r.plan.bulk)+i, byte(wantsAnswer)
		s := streaming{id: id, what: fmt.Sprintf("half-closed session %d", i), done: make(chan [2]flow, 1)}
		if i%2 == 1 {
			kind = wantsToTell
		}
		c := r.open("tcp", r.values["half"], kind, id)
		go func() {
			if kind == wantsAnswer {
				sent := flowOf(c, clientSeed(id), farewell)
				s.done <- [2]flow{sent, receive(c, nil)}
				return
			}
			got := receive(c, nil)
			s.done <- [2]flow{r.peers.half.send(c, clientSeed(id), slowPiece, flowPace), got}
		}()
		all = append(all, s)
	}
	return all
}

// closeStreams waits for the ends, checks what has arrived, and returns how many bytes that are.
func (r *upgradesRig) closeStreams(all []streaming) (size int64) {
	r.t.Helper()
	for _, s := range all {
		var near [2]flow
		select {
		case near = <-s.done:
		case <-time.After(patient):
			r.t.Fatalf("%s does not end", s.what)
		}
		far := r.peers.noted(r.t, s.id)
		near[0].expectSame(r.t, s.what+", from the client", far[1])
		far[0].expectSame(r.t, s.what+", from the server", near[1])
		size += near[0].size + far[0].size
	}
	return size
}
