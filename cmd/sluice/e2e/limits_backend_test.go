package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A countedEcho is a server that sends back what it gets, and counts its connections.
type countedEcho struct {
	listener net.Listener
	accepts  atomic.Int64
	open     atomic.Int64 // connections that have said something
	most     atomic.Int64 // of them, at any time
}

func startCountedEcho(t *testing.T) *countedEcho {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &countedEcho{listener: listener}
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return // closed
			}
			e.accepts.Add(1)
			sessions.Go(func() { e.serve(c) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		sessions.Wait()
	})
	return e
}

func (e *countedEcho) address() string { return e.listener.Addr().String() }

func (e *countedEcho) serve(c net.Conn) {
	defer c.Close()
	data := make([]byte, 64)
	for first := true; ; first = false {
		n, err := c.Read(data)
		if n == 0 || err != nil {
			return
		}
		if first {
			e.count(e.open.Add(1))
			defer e.open.Add(-1)
		}
		if _, err := c.Write(data[:n]); err != nil {
			return
		}
	}
}

func (e *countedEcho) count(open int64) {
	for most := e.most.Load(); open > most && !e.most.CompareAndSwap(most, open); most = e.most.Load() {
	}
}

// dialFrom connects from a source address, and says a word, such as a PROXY header; "" = nothing. The connection is
// closed when the test is over.
func dialFrom(t *testing.T, source, address, word string) net.Conn {
	t.Helper()
	c, err := tryDial(source, address, word)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func tryDial(source, address, word string) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: patient}
	c, err := dialer.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(patient))
	if _, err := io.WriteString(c, word); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// echo says something and returns an error unless that comes back.
func echo(c net.Conn, text string) error {
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		return fmt.Errorf("%q comes back, %v; want %q", got, err, text)
	}
	return nil
}

// expectEcho checks that a connection works.
func expectEcho(t *testing.T, c net.Conn) {
	t.Helper()
	if err := echo(c, "hello"); err != nil {
		t.Errorf("a session from %v: %v", c.LocalAddr(), err)
	}
}

// served connects, and returns the connection when it works.
func served(t *testing.T, source, address, word string) net.Conn {
	t.Helper()
	c := dialFrom(t, source, address, word)
	expectEcho(t, c)
	return c
}

// resetFrom connects, says a word, and returns an error unless nothing but a reset comes back.
func resetFrom(source, address, word string) error {
	c, err := tryDial(source, address, word)
	if isReset(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer c.Close()
	data, err := io.ReadAll(c)
	if len(data) > 0 || !isReset(err) {
		return fmt.Errorf("from %s, %q: got %q and %v, want a reset", source, word, data, err)
	}
	return nil
}

// expectReset checks that a client is reset when it connects, whether it talks first or listens.
func expectReset(t *testing.T, source, address, word string) {
	t.Helper()
	if err := resetFrom(source, address, word); err != nil {
		t.Error(err)
	}
}

// expectRefusals checks that sessions at a listener were ended for a reason before any pool was asked.
func (r *rig) expectRefusals(listener, reason string, want uint64) {
	r.t.Helper()
	series := fmt.Sprintf("sluice_sessions_ended_total{listener=%q,pool=\"\",reason=%q}", listener, reason)
	until(r.t, series, func() error {
		if got := r.metrics()[series]; got != float64(want) {
			return fmt.Errorf("it is %v, want %d", got, want)
		}
		return nil
	})
}

// untilLogged waits until sluice's log has a line with all of these words.
func (r *rig) untilLogged(words ...string) {
	r.t.Helper()
	until(r.t, fmt.Sprintf("%q is logged", words), func() error {
		for _, line := range readLines(r.t, r.log) {
			missing := false
			for _, word := range words {
				missing = missing || !strings.Contains(line, word)
			}
			if !missing {
				return nil
			}
		}
		return errors.New("it is not")
	})
}
