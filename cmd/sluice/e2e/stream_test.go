package e2e

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	streamSize = 1 << 30 // in each direction
	seedUp     = 1       // of what the client sends
	seedDown   = 2       // of what the server sends
	// The first byte a client sends says what the session is.
	kindStream = 'S'
	kindTalk   = 'T'
)

const streamConfig = `
listeners:
  in: {bind: "127.0.0.1:0", pool: out}
pools:
  out:
    check: {interval: 500ms, timeout: 30s}
    backends: [{name: out, address: %q}]
`

// A gigabyte each way, at the same time and on the same session, arrives as it was sent, while a hundred other sessions
// ask and are answered without an error. In the end sluice holds nothing of them.
func TestStream(t *testing.T) {
	server := startStreamServer(t)
	r := startSluice(t, fmt.Sprintf(streamConfig, server.listener.Addr()))
	address := r.address("in")
	r.untilUsable("out", true)
	before := r.descriptors()

	var over atomic.Bool
	talks := startTalkers(address, &over)
	until(t, "every talker talks", func() error {
		if n := r.status().active(); n < talkers {
			return fmt.Errorf("%d sessions", n)
		}
		return nil
	})
	began := time.Now()
	near := clientStream(address)
	took := time.Since(began)
	over.Store(true)
	replies, slowest := talks.expectNoErrors(t)
	near.expectSame(t, server.stream(t))
	if slowest > took/2 {
		t.Errorf("a reply took %v of the %v that the stream took: streams starve small messages", slowest, took)
	}
	t.Logf("%d MiB each way in %v, beside it %d replies, the slowest after %v", streamSize>>20,
		took.Round(time.Millisecond), replies, slowest.Round(time.Millisecond))

	r.expectClean(talkers + 1)
	b := r.status().backend(t, "out")
	received := uint64(streamSize + replies*talkSize)
	if sent := received + talkers + 1; b.Sent != sent || b.Received != received {
		t.Errorf("sluice counts %d bytes sent and %d received, want %d and %d", b.Sent, b.Received, sent, received)
	}
	until(t, "descriptors are given back", func() error {
		if n := r.descriptors(); n != before { // a check or an answered question may hold one for a moment
			return fmt.Errorf("there are %d, there were %d", n, before)
		}
		return nil
	})
}

// sums are the SHA-256 of what one side sent and received.
type sums struct {
	sent, received [sha256.Size]byte
	err            error
}

// expectSame checks that each side received what the other one sent.
func (near sums) expectSame(t *testing.T, far sums) {
	t.Helper()
	if near.err != nil || far.err != nil {
		t.Fatalf("stream: at the client %v, at the server %v", near.err, far.err)
	}
	if near.sent != far.received || far.sent != near.received || near.sent == far.sent {
		t.Errorf("SHA-256: the client sent %x, the server received %x; the server sent %x, the client received %x",
			near.sent, far.received, far.sent, near.received)
	}
}

// clientStream runs the client's side of a stream to its end.
func clientStream(address string) sums {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return sums{err: err}
	}
	defer c.Close()
	if _, err := c.Write([]byte{kindStream}); err != nil {
		return sums{err: err}
	}
	return exchange(c.(*net.TCPConn), seedUp)
}

// exchange sends noise and receives what the other side sends, both at once, until both have ended with FIN.
func exchange(c *net.TCPConn, seed byte) (s sums) {
	c.SetDeadline(time.Now().Add(4 * patient))
	done := make(chan error)
	go func() {
		sum := sha256.New()
		data := io.LimitReader(newNoise(seed), streamSize)
		_, err := io.CopyBuffer(io.MultiWriter(c, sum), data, make([]byte, 256<<10))
		sum.Sum(s.sent[:0])
		done <- errors.Join(err, c.CloseWrite())
	}()
	sum := sha256.New()
	n, err := io.CopyBuffer(sum, onlyReader{c}, make([]byte, 256<<10))
	sum.Sum(s.received[:0])
	if err == nil && n != streamSize {
		err = fmt.Errorf("%d bytes were received", n)
	}
	s.err = errors.Join(err, <-done)
	return s
}

// onlyReader keeps io.CopyBuffer from a method that would not use the buffer.
type onlyReader struct{ io.Reader }

// A streamServer answers talkers and takes part in one stream.
type streamServer struct {
	listener net.Listener
	streams  chan sums
}

func startStreamServer(t *testing.T) *streamServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &streamServer{listener: listener, streams: make(chan sums, 1)}
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return // closed
			}
			sessions.Go(func() { s.serve(c.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		sessions.Wait()
	})
	return s
}

func (s *streamServer) serve(c *net.TCPConn) {
	defer c.Close()
	kind := make([]byte, 1)
	if _, err := io.ReadFull(c, kind); err != nil {
		return
	}
	if kind[0] == kindStream {
		s.streams <- exchange(c, seedDown)
		return
	}
	message := make([]byte, talkSize)
	for {
		if _, err := io.ReadFull(c, message); err != nil {
			return // the talker finds out
		}
		reply(message)
		if _, err := c.Write(message); err != nil {
			return
		}
	}
}

// reply makes a request into its reply: no reply is the same as a request.
func reply(message []byte) {
	for i := range message {
		message[i] ^= 0x55
	}
}

// stream waits for the server's side of the stream to end.
func (s *streamServer) stream(t *testing.T) sums {
	t.Helper()
	select {
	case sums := <-s.streams:
		return sums
	case <-time.After(patient):
		t.Fatal("the server's side of the stream does not end")
		return sums{}
	}
}
