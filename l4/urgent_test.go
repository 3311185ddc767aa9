package l4

import (
	"slices"
	"syscall"
	"testing"
)

// sendUrgent sends one byte of urgent data. It travels beside the stream; what
// comes after it must not be held up at its mark.
func sendUrgent(t *testing.T, c conn) {
	t.Helper()
	if err := trySendUrgent(c); err != nil {
		t.Fatal(err)
	}
}

// trySendUrgent is sendUrgent where the kernel may have no room for it, which is EAGAIN.
func trySendUrgent(c conn) (failure error) {
	raw := must(c.SyscallConn())
	raw.Write(func(fd uintptr) bool {
		_, failure = syscall.SendmsgN(int(fd), []byte("!"), nil, nil, syscall.MSG_OOB)
		return true
	})
	return failure
}

// A read stops short at the mark of urgent data, and splice never goes past it.
func TestUrgentData(t *testing.T) {
	f := func(name string, size, streak int, fin bool) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigConfig{})
			ends := r.pair()
			r.settle()
			r.newest().halves[client].streak = uint8(streak)
			before, after := random(1, size), random(2, size)
			ends[client].SetWriteBuffer(1 << 20)
			for _, send := range []func(){
				func() { writeAll(ends[client], before) },
				func() { sendUrgent(t, ends[client]) },
				func() { writeAll(ends[client], after) },
			} {
				send() // the loop stands still
			}
			if fin {
				ends[client].CloseWrite()
			}
			r.expect(ends[server], slices.Concat(before, after))
			if fin {
				r.expectFIN(ends[server])
				r.exchange(ends[server], ends[client], 3)
				return
			}
			r.exchange(ends[client], ends[server], 3)
		})
	}
	f("copy", 10, 0, false)
	f("copy, FIN", 10, 0, true)
	f("copy, more than one read", scratchSize, 0, false)
	f("splice", 10, streakLimit, false)
	f("splice, FIN", 10, streakLimit, true)
	f("splice, a stream", 50_000, streakLimit, false)
	f("splice, a stream and FIN", 50_000, streakLimit, true)
}

// Urgent data comes while the loop is in the middle of a stream.
func TestUrgentDataMidStream(t *testing.T) {
	bothSides(t, func(t *testing.T, near side) {
		r := newRig(t, rigConfig{})
		ends := r.pair()
		data := random(3, 8<<20)
		r.both(
			func() error {
				if err := writeAll(ends[near], data[:3<<20]); err != nil {
					return err
				}
				sendUrgent(t, ends[near]) // one: a second before the first was passed lies in the stream
				if err := writeAll(ends[near], data[3<<20:]); err != nil {
					return err
				}
				return ends[near].CloseWrite()
			},
			func() error { return readAll(ends[near.other()], data) },
		)
		r.expectFIN(ends[near.other()])
	})
}

// Urgent data and FIN come after the loop has seen the event of the data before
// them: it knows of neither when splice stops at the mark.
func TestUrgentDataBetweenEvents(t *testing.T) {
	r := newRig(t, rigConfig{})
	ends := r.pair()
	r.settle()
	s := r.newest()
	s.halves[client].streak = streakLimit
	for _, part := range []string{"before", "after"} {
		writeAll(ends[client], []byte(part))
		if part == "before" {
			sendUrgent(t, ends[client])
		}
	}
	ends[client].CloseWrite()
	s.ends[client].ready |= readable // as of an event of the first byte
	r.loop.relay(s)
	r.expect(ends[server], []byte("beforeafter"))
	r.expectFIN(ends[server])
}
