package l4

import (
	"fmt"
	"io"
	"testing"
	"time"
)

// bothSides runs a test once for each side that acts first.
func bothSides(t *testing.T, f func(t *testing.T, near side)) {
	t.Helper()
	for near, name := range [...]string{client: "client", server: "server"} {
		t.Run(name, func(t *testing.T) { f(t, side(near)) })
	}
}

func TestFINBeforeAnyData(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		r := newRig(t, rigConfig{})
		ends := r.pair()
		ends[near].CloseWrite()
		r.expectFIN(ends[near.other()])
		r.write(ends[near.other()], []byte("answer"))
		r.expect(ends[near], []byte("answer"))
		ends[near.other()].CloseWrite()
		r.expectFIN(ends[near])
		if end := r.expectEnd(closedBy(near)); end.Errno != 0 {
			t.Errorf("errno %v, want none", end.Errno)
		}
	})
}

// Data and FIN lie in the kernel before the loop looks: one event tells of
// both, and no other will come.
func TestFINInOneBatchWithData(t *testing.T) {
	sizes := []int{1, 100, streamRead, scratchSize - 1, scratchSize, scratchSize + 1, 2 * scratchSize}
	bothSides(t, func(t *testing.T, near side) {
		for _, size := range sizes {
			t.Run(fmt.Sprint(size), func(t *testing.T) {
				r := newRig(t, rigConfig{})
				ends := r.pair()
				r.settle()
				data := random(1, size)
				ends[near].SetWriteBuffer(4 * size)
				if _, err := ends[near].Write(data); err != nil { // the loop stands still
					t.Fatal(err)
				}
				ends[near].CloseWrite()
				r.expect(ends[near.other()], data)
				r.expectFIN(ends[near.other()])
				ends[near.other()].CloseWrite()
				r.expectFIN(ends[near])
				r.expectEnd(closedBy(near))
			})
		}
	})
}

// The same with everything there before the connection was even accepted.
func TestFINBeforeAccept(t *testing.T) {
	f := func(name string, data []byte) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigConfig{})
			c := r.dial()
			if _, err := c.Write(data); err != nil {
				t.Fatal(err)
			}
			c.CloseWrite()
			s := r.accept()
			r.expect(s, data)
			r.expectFIN(s)
			r.write(s, []byte("answer"))
			s.Close()
			r.expect(c, []byte("answer"))
			r.expectFIN(c)
			r.expectEnd(ClientClosed)
		})
	}
	f("no data", nil)
	f("a byte", []byte("x"))
	f("a request", random(2, 3000))
}

// FIN arrives on its own, long after a short read has said "drained".
func TestFINAfterQuiet(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		r := newRig(t, rigConfig{})
		ends := r.pair()
		r.write(ends[near], []byte("request"))
		r.expect(ends[near.other()], []byte("request"))
		r.settle()
		ends[near].CloseWrite()
		r.expectFIN(ends[near.other()])
		ends[near.other()].Close()
		r.expectFIN(ends[near])
		r.expectEnd(closedBy(near))
	})
}

// One direction is over; the other goes on as if nothing had happened, with
// messages and with streams.
func TestHalfClosedGoesOn(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		r := newRig(t, rigConfig{fin: time.Minute})
		ends := r.pair()
		far := ends[near.other()]
		r.write(ends[near], []byte("last words"))
		ends[near].CloseWrite()
		r.expect(far, []byte("last words"))
		r.expectFIN(far)
		for i := range 500 {
			message := random(byte(i), 1+i*7%5000)
			r.write(far, message)
			r.expect(ends[near], message)
			r.now += 10 * time.Second // activity keeps it open for 5000 s
		}
		stream := random(9, 4<<20)
		r.both(
			func() error { return writeAll(far, stream) },
			func() error { return readAll(ends[near], stream) },
		)
		if len(r.ended) > 0 {
			t.Fatalf("the session ended early: %+v", r.ended[0])
		}
		far.CloseWrite()
		r.expectFIN(ends[near])
		r.expectEnd(closedBy(near))
	})
}

func TestBothFINsAtOnce(t *testing.T) {
	f := func(name string, size int) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigConfig{})
			ends := r.pair()
			r.settle()
			data := [2][]byte{random(3, size), random(4, size)}
			for side, c := range ends {
				if _, err := c.Write(data[side]); err != nil {
					t.Fatal(err)
				}
				c.CloseWrite()
			}
			for side, c := range ends {
				r.expect(c, data[1-side])
				r.expectFIN(c)
			}
			r.until("the session ends", func() bool { return len(r.ended) == 1 })
			if end := r.ended[0]; !end.Reason.Clean() || end.Received != uint64(size) || end.Sent != uint64(size) {
				t.Errorf("ended with %+v, want a clean end and %d bytes each way", end, size)
			}
		})
	}
	f("empty", 0)
	f("messages", 1000)
	f("exactly one read", scratchSize/4)
}

// The last bytes are read together with the FIN while the sink takes only a
// part of them: the FIN waits for the rest. How much the sink takes is found
// out first.
func TestFINBehindUnsentBytes(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		const chunk = 10_000
		fill := func(fin int) (r *rig, ends [2]conn, sent int) {
			r = newRig(t, rigConfig{})
			ends = r.pair()
			r.smallBuffers(ends)
			for h := &r.newest().halves[near]; !h.unsent(); sent += chunk {
				if sent > 16<<20 {
					t.Fatal("16 MiB were taken by a peer that does not read")
				}
				if _, err := ends[near].Write(theStream[sent : sent+chunk]); err != nil {
					t.Fatal(err)
				}
				if sent == fin {
					ends[near].CloseWrite()
				}
				r.until("the chunk was read", func() bool { return h.bytes > uint64(sent) || h.unsent() })
				if h.eof && !h.unsent() {
					return r, ends, 0 // it took more than the last time
				}
			}
			return r, ends, sent
		}
		for range 10 {
			_, _, full := fill(-1)
			r, ends, sent := fill(full - chunk)
			if sent == 0 || !r.newest().halves[near].eof {
				continue
			}
			far := ends[near.other()]
			r.expect(far, theStream[:sent])
			r.expectFIN(far)
			r.exchange(far, ends[near], 3)
			return
		}
		t.Error("no FIN came together with bytes that the sink did not take")
	})
}

// both steps the loop while two things that may block go on at once.
func (r *rig) both(fs ...func() error) {
	r.t.Helper()
	results := make(chan error, len(fs))
	for _, f := range fs {
		go func() { results <- f() }()
	}
	for range fs {
		r.while("one of several", func() error { return <-results })
	}
}

func writeAll(c conn, data []byte) error {
	_, err := c.Write(data)
	return err
}

// readAll reads as many bytes as wanted, and compares.
func readAll(c conn, want []byte) error {
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil {
		return fmt.Errorf("after %d of %d bytes: %w", n, len(want), err)
	}
	if string(got) != string(want) {
		return fmt.Errorf("%d bytes differ from what was sent", len(want))
	}
	return nil
}
