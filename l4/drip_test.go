package l4

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"sluice/sysutil/systest"
)

func TestOneByteAtATime(t *testing.T) {
	r := newRig(t, rigConfig{})
	ends := r.pair()
	data := [2][]byte{random(1, 300), random(2, 300)}
	for i := range 300 {
		for side, c := range ends {
			r.write(c, data[side][i:i+1])
		}
		for side := range ends {
			r.expect(ends[1-side], data[side][i:i+1])
		}
	}
}

// Sizes around every number at which something changes.
func TestMessageSizes(t *testing.T) {
	sizes := []int{1, 2, 3, 1447, 1448, 1449}
	for _, edge := range []int{streamRead, scratchSize, 2 * scratchSize, PipeSize, spliceLimit, longestTurn, longestTurn + spliceLimit} {
		sizes = append(sizes, edge-1, edge, edge+1)
	}
	slices.Sort(sizes)
	r := newRig(t, rigConfig{})
	ends := r.pair()
	total := uint64(0)
	for i, size := range sizes {
		message := random(byte(i), size)
		for from := range ends {
			r.both(
				func() error { return writeAll(ends[from], message) },
				func() error { return readAll(ends[1-from], message) },
			)
		}
		total += uint64(size)
	}
	ends[client].Close()
	ends[server].Close()
	if end := r.expectEnd(ClientClosed); end.Sent != total || end.Received != total {
		t.Errorf("counted %d bytes to and %d from the backend, want %d", end.Sent, end.Received, total)
	}
	if b := r.pool.Backends()[0].Stats(); b.Sent != total || b.Received != total {
		t.Errorf("the backend counted %d and %d bytes, want %d", b.Sent, b.Received, total)
	}
}

// Streams and single messages take turns, in both directions at once, so that
// each direction goes from copy to splice and back several times.
func TestSwitchModes(t *testing.T) {
	const phases, stream, messages = 5, 3 << 20, 20
	r := newRig(t, rigConfig{})
	ends := r.pair()
	s := r.newest()
	switches := [2]int{}
	fast := [2]bool{}
	watch := func() {
		for side := range s.halves {
			if now := s.halves[side].streak >= spliceAfter; now != fast[side] {
				fast[side] = now
				switches[side]++
			}
		}
	}
	results := make(chan error, 4)
	for from := range ends {
		passed := make(chan struct{})
		go func() { results <- phaseOut(ends[from], byte(from), phases, stream, messages, passed) }()
		go func() { results <- phaseIn(ends[1-from], byte(from), phases, stream, messages, passed) }()
	}
	var failure error
	for done := 0; done < 4; {
		select {
		case err := <-results:
			failure = errors.Join(failure, err)
			done++
		default:
			r.step()
			watch()
		}
		if failure != nil {
			t.Fatal(failure)
		}
	}
	if switches[client] < phases || switches[server] < phases {
		t.Errorf("%v changes of mode by direction, want at least %d each", switches, phases)
	}
	if n := r.srv.pipes.Lent(); n != 0 {
		t.Errorf("%d pipes are lent while nothing moves", n)
	}
}

// phaseOut sends a stream, then messages each of which waits for the one
// before to have arrived, and so on. phaseIn is the other end of it.
func phaseOut(c conn, seed byte, phases, stream, messages int, passed <-chan struct{}) error {
	for phase := range phases {
		data := random(seed+byte(2*phase), stream)
		if err := writeAll(c, data); err != nil {
			return err
		}
		<-passed
		for i := range messages {
			if err := writeAll(c, data[i:2*i+1]); err != nil {
				return err
			}
			<-passed
		}
	}
	return nil
}

func phaseIn(c conn, seed byte, phases, stream, messages int, passed chan<- struct{}) error {
	defer close(passed)
	for phase := range phases {
		data := random(seed+byte(2*phase), stream)
		if err := readAll(c, data); err != nil {
			return fmt.Errorf("stream %d: %w", phase, err)
		}
		passed <- struct{}{}
		for i := range messages {
			if err := readAll(c, data[i:2*i+1]); err != nil {
				return fmt.Errorf("message %d.%d: %w", phase, i, err)
			}
			passed <- struct{}{}
		}
	}
	return nil
}

// A stream on the same loop delays a message by a turn or two, no more.
func TestStreamDoesNotStarveMessages(t *testing.T) {
	r := newRig(t, rigConfig{})
	bulk, small := r.pair(), r.pair()
	stop := errors.New("over")
	chunk := random(1, 1<<20)
	ended := make(chan error, 2)
	go func() {
		for {
			if _, err := bulk[client].Write(chunk); err != nil {
				ended <- stop
				return
			}
		}
	}()
	go func() { io.Copy(io.Discard, bulk[server]); ended <- stop }()
	r.until("the stream flows", func() bool { return r.traffic() > 16<<20 })
	for range 100 {
		before := r.traffic()
		if _, err := small[client].Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		var got []byte
		for turn := 0; len(got) == 0; turn++ {
			if turn == 2 {
				t.Fatalf("the message was not passed on in %d turns", turn)
			}
			r.step()
			got = tryReceive(small[server])
		}
		if !bytes.Equal(got, []byte("ping")) {
			t.Fatalf("read %q, want ping", got)
		}
		if moved := r.traffic() - before; moved > 4*(longestTurn+spliceLimit) {
			t.Errorf("%d bytes went by before the message, want at most %d", moved, 4*(longestTurn+spliceLimit))
		}
	}
	bulk[client].Close()
	bulk[server].Close()
	r.while("the stream ends", func() error { <-ended; <-ended; return nil })
}

// An idle session is two descriptors and its place in the slab.
func TestIdleSessionHoldsNothing(t *testing.T) {
	const sessions = 100
	r := newRig(t, rigConfig{send: ProxyV2})
	var all [][2]conn
	for range sessions {
		all = append(all, r.pair())
	}
	stream := random(1, 2<<20)
	for _, ends := range all[:10] {
		r.both(func() error { return writeAll(ends[client], stream) }, func() error {
			_, err := io.CopyN(io.Discard, ends[server], 28+int64(len(stream)))
			return err
		})
	}
	r.settle()
	if n := r.srv.pipes.Lent(); n != 0 {
		t.Errorf("%d pipes are lent", n)
	}
	r.loop.sessions.each(func(s *session) {
		for i := range s.halves {
			if h := &s.halves[i]; h.held != nil || h.pipe != nil {
				t.Errorf("session %d holds a buffer or a pipe: %+v", s.id, h)
			}
		}
		if s.opening != nil {
			t.Errorf("session %d keeps its opening", s.id)
		}
	})
	// The test holds two ends of each session, sluice the other two.
	sockets := 0
	for _, file := range systest.OpenFiles() {
		if bytes.Contains([]byte(file), []byte("socket:")) {
			sockets++
		}
	}
	if want := 4*sessions + 3; sockets > want {
		t.Errorf("%d sockets are open for %d sessions, want at most %d", sockets, sessions, want)
	}
}
