package l4

import (
	"math/rand/v2"
	"testing"
	"time"
)

// model is a wheel that anybody can see is right.
type model struct {
	deadlines map[int32]time.Duration
}

// due removes and returns the timers that may have fired by now, and those
// that must have: one tick later.
func (m *model) overdue(now time.Duration) (slots []int32) {
	for slot, at := range m.deadlines {
		if at+tick <= now {
			slots = append(slots, slot)
		}
	}
	return slots
}

func newTestWheel(n int) (*wheel, []timer) {
	timers := make([]timer, n)
	return newWheel(func(slot int32) *timer { return &timers[slot] }), timers
}

// Random timers are set, moved, cancelled and waited for in steps from nothing
// to days. None fires early, twice, or more than a tick late; and the wheel
// never asks to be woken after a timer is due.
func TestWheelAgainstModel(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		const slots = 64
		w, _ := newTestWheel(slots)
		m := &model{deadlines: map[int32]time.Duration{}}
		now := time.Hour + time.Duration(rnd.Int64N(int64(time.Hour)))
		w.advance(now, func(int32) { t.Fatal("an empty wheel fired") })
		for range 3000 {
			slot := int32(rnd.IntN(slots))
			switch rnd.IntN(4) {
			case 0, 1:
				at := now + span(rnd)
				w.set(slot, at)
				m.deadlines[slot] = at
			case 2:
				w.cancel(slot)
				delete(m.deadlines, slot)
			case 3:
				checkUntil(t, w, m, now)
				now += span(rnd)
				advanceBoth(t, w, m, now)
			}
		}
		now += 400 * 24 * time.Hour
		advanceBoth(t, w, m, now)
		if len(m.deadlines) != 0 {
			t.Errorf("seed %d: %d timers never fired", seed, len(m.deadlines))
		}
		if w.until(now) >= 0 {
			t.Errorf("seed %d: an empty wheel wants to be woken", seed)
		}
	}
}

// span is a random duration whose magnitude is random as well: 0 to 250 days,
// many of them at an edge of a level.
func span(rnd *rand.Rand) time.Duration {
	d := tick << (wheelBits * rnd.IntN(wheelLevels))
	switch rnd.IntN(4) {
	case 0:
		return time.Duration(rnd.Int64N(int64(64 * d)))
	case 1:
		return d*time.Duration(rnd.IntN(3)*64) + time.Duration(rnd.IntN(3)-1)
	case 2:
		return d + tick*time.Duration(rnd.IntN(3)-1)
	}
	return time.Duration(rnd.Int64N(int64(100 * tick)))
}

func advanceBoth(t *testing.T, w *wheel, m *model, now time.Duration) {
	t.Helper()
	w.advance(now, func(slot int32) {
		at, ok := m.deadlines[slot]
		if !ok {
			t.Fatalf("slot %d fired without being set", slot)
		}
		if now < at {
			t.Fatalf("slot %d fired %v early", slot, at-now)
		}
		delete(m.deadlines, slot)
	})
	for _, slot := range m.overdue(now) {
		// Set for the past or the tick at hand, it fires in the next tick.
		t.Fatalf("slot %d is %v late", slot, now-m.deadlines[slot])
	}
}

func checkUntil(t *testing.T, w *wheel, m *model, now time.Duration) {
	t.Helper()
	wait := w.until(now)
	for slot, at := range m.deadlines {
		if wait < 0 || now+wait > max(at, now)+tick {
			t.Fatalf("the wheel would wait %v, but slot %d is due in %v", wait, slot, at-now)
		}
	}
	if wait >= 0 && len(m.deadlines) == 0 {
		t.Fatalf("the wheel would wait %v for nothing", wait)
	}
}

// A loop that is woken only when it asks to be still fires in time, and does
// not wake often: a timer of days passes through each level once.
func TestWheelWakesSeldom(t *testing.T) {
	f := func(after time.Duration) {
		t.Helper()
		w, _ := newTestWheel(1)
		now := time.Hour + 123*time.Millisecond
		w.advance(now, nil)
		at := now + after
		w.set(0, at)
		fired, wakes := false, 0
		for ; !fired; wakes++ {
			wait := w.until(now)
			if wait < 0 {
				t.Fatalf("after %v: nothing to wait for", now)
			}
			now += wait
			w.advance(now, func(int32) { fired = true })
		}
		if now < at || now > at+tick {
			t.Errorf("a timer of %v fired after %v", after, now-at+after)
		}
		if limit := 2*wheelLevels + int(after/(tick*time.Duration(maxTicks))); wakes > limit {
			t.Errorf("a timer of %v took %d wake-ups, want at most %d", after, wakes, limit)
		}
	}
	for level := range wheelLevels {
		edge := tick << (wheelBits * level)
		for _, off := range []time.Duration{-tick, -1, 0, 1, tick} {
			if edge+off > 0 {
				f(edge + off)
				f(63*edge + off)
				f(64*edge + off)
			}
		}
	}
	f(10 * 365 * 24 * time.Hour) // beyond the top level
}

// The list of one slot survives removal at its head, middle and tail.
func TestWheelCancelInList(t *testing.T) {
	for gone := range int32(3) {
		w, _ := newTestWheel(3)
		for slot := range int32(3) {
			w.set(slot, time.Second)
		}
		w.cancel(gone)
		w.cancel(gone) // twice is once
		fired := map[int32]int{}
		w.advance(2*time.Second, func(slot int32) { fired[slot]++ })
		for slot := range int32(3) {
			want := 1
			if slot == gone {
				want = 0
			}
			if fired[slot] != want {
				t.Errorf("cancel %d: slot %d fired %d times, want %d", gone, slot, fired[slot], want)
			}
		}
	}
}

// fire may set its own timer again, set and cancel others of the same list.
func TestWheelChangedWhileFiring(t *testing.T) {
	w, timers := newTestWheel(4)
	for slot := range int32(3) {
		w.set(slot, time.Second)
	}
	var order []int32
	w.advance(3*time.Second, func(slot int32) {
		order = append(order, slot)
		if len(order) == 1 {
			w.cancel((slot + 1) % 3)
			w.set(slot, 2*time.Second)
			w.set(3, 0) // long past: the next tick
		}
	})
	if len(order) != 4 || order[0] != order[3] {
		t.Errorf("fired %v, want two of one list, slot 3, and the first again", order)
	}
	for slot := range timers {
		if timers[slot].at != 0 {
			t.Errorf("slot %d is still set", slot)
		}
	}
}
