package l4

import (
	"math/bits"
	"time"
)

// The timer wheel of a loop: every session has at most one deadline, kept in
// a list per slot that is threaded through the sessions themselves, so that
// setting, moving and cancelling cost O(1) and nothing is allocated.
//
//	level 0:  64 slots of 1 tick       (16 ms)
//	level 1:  64 slots of 64 ticks     (1 s)
//	level 2:  64 slots of 4096 ticks   (65 s)
//	level 3:  64 slots of 262144 ticks (70 min)
//	level 4:  64 slots of 2^24 ticks   (3 days)
//
// A slot of a higher level is spread over the lower ones when its time comes.
// A bit per slot finds the next one that is not empty without walking.

const (
	tick        = 16 * time.Millisecond
	wheelLevels = 5
	wheelBits   = 6
	wheelSlots  = 1 << wheelBits
	maxTicks    = int64(1)<<(wheelLevels*wheelBits) - 1
	unlinked    = int32(-1)
)

// timer is the session's part of the wheel. Its owner is the wheel.
type timer struct {
	at         int64 // tick at which it fires; 0 = not set
	next, prev int32 // slots of the neighbours in the list, or unlinked
	where      uint16
}

type wheel struct {
	now      int64 // the last tick that was dealt with
	heads    [wheelLevels * wheelSlots]int32
	occupied [wheelLevels]uint64
	node     func(slot int32) *timer
}

func newWheel(node func(slot int32) *timer) *wheel {
	w := &wheel{node: node}
	for i := range w.heads {
		w.heads[i] = unlinked
	}
	return w
}

// ticksAt rounds up, so that no timer fires early.
func ticksAt(when time.Duration) int64 {
	return int64((when + tick - 1) / tick)
}

// set makes the timer of slot fire at when, instead of what it was set to.
func (w *wheel) set(slot int32, when time.Duration) {
	w.cancel(slot)
	t := w.node(slot)
	// Tick w.now has passed, so the next one is the earliest that can fire.
	t.at = max(ticksAt(when), w.now+1)
	w.insert(slot, t)
}

func (w *wheel) insert(slot int32, t *timer) {
	delta := min(t.at-w.now, maxTicks)
	level := (bits.Len64(uint64(delta)) - 1) / wheelBits
	index := ((w.now + delta) >> (level * wheelBits)) & (wheelSlots - 1)
	where := level*wheelSlots + int(index)
	t.where, t.prev, t.next = uint16(where), unlinked, w.heads[where]
	if t.next != unlinked {
		w.node(t.next).prev = slot
	}
	w.heads[where] = slot
	w.occupied[level] |= 1 << index
}

// cancel unsets the timer of slot; it may be unset already.
func (w *wheel) cancel(slot int32) {
	t := w.node(slot)
	if t.at == 0 {
		return
	}
	if t.next != unlinked {
		w.node(t.next).prev = t.prev
	}
	if t.prev != unlinked {
		w.node(t.prev).next = t.next
	} else {
		w.heads[t.where] = t.next
		if t.next == unlinked {
			w.occupied[t.where/wheelSlots] &^= 1 << (t.where % wheelSlots)
		}
	}
	t.at = 0
}

// nextTick is the earliest tick at which a slot has to be looked at; ok is
// false when no timer is set.
func (w *wheel) nextTick() (next int64, ok bool) {
	for level, occupied := range w.occupied {
		if occupied == 0 {
			continue
		}
		shift := level * wheelBits
		position := w.now >> shift
		// Distance 1 to 64: the present index can only be meant for the next turn.
		ahead := bits.RotateLeft64(occupied, -int((position+1)&(wheelSlots-1)))
		at := (position + 1 + int64(bits.TrailingZeros64(ahead))) << shift
		if !ok || at < next {
			next, ok = at, true
		}
	}
	return next, ok
}

// until is how long a loop may wait from now on before it must call advance;
// negative = for ever.
func (w *wheel) until(now time.Duration) time.Duration {
	next, ok := w.nextTick()
	if !ok {
		return -1
	}
	return max(0, time.Duration(next)*tick-now)
}

// advance moves the wheel to now and calls fire for every timer that is due.
// The timer is unset when fire is called, which may set it again.
func (w *wheel) advance(now time.Duration, fire func(slot int32)) {
	target := int64(now / tick)
	for w.now < target {
		next, ok := w.nextTick()
		if !ok || next > target {
			w.now = target
			return
		}
		w.now = next
		for level := wheelLevels - 1; level >= 0; level-- {
			shift := level * wheelBits
			if next&(1<<shift-1) == 0 {
				w.empty(level*wheelSlots+int((next>>shift)&(wheelSlots-1)), fire)
			}
		}
	}
}

// empty fires what is due in one list and spreads the rest over the levels below.
func (w *wheel) empty(where int, fire func(slot int32)) {
	for w.heads[where] != unlinked {
		slot := w.heads[where]
		t := w.node(slot)
		at := t.at
		w.cancel(slot)
		if at <= w.now {
			fire(slot)
			continue
		}
		t.at = at
		w.insert(slot, t)
	}
}
