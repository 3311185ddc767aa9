package pool

import (
	"slices"
	"time"
)

// whole is the share, in percent, of a backend that does not ramp.
const whole = 100

// effective returns the weight as it counts now, in hundredths: weight × share. The pool's mutex is held.
func (b *Backend) effective() int { return b.weight * b.share }

// startRamp begins a backend's slow start: its caches are cold, and under least_conn, being empty, it would be given
// every new session. The mutex is held.
func (p *Pool) startRamp(b *Backend) {
	if p.slowStart == 0 {
		return
	}
	b.share, b.back = 1, time.Now()
	p.ramping = append(p.ramping, b)
}

// endRamp makes a backend that is not usable any more whole again. The mutex is held.
func (p *Pool) endRamp(b *Backend) {
	b.share = whole
	p.dropWhole()
}

// ramp brings the shares of all backends that ramp up to date. It reads the clock only while there are any. The mutex
// is held.
func (p *Pool) ramp() {
	if len(p.ramping) > 0 {
		p.rampTo(time.Now())
	}
}

// rampTo sets the shares of the backends that ramp to what they are at a time. The mutex is held.
func (p *Pool) rampTo(now time.Time) {
	for _, b := range p.ramping {
		b.share = shareAfter(now.Sub(b.back), p.slowStart)
	}
	p.dropWhole()
}

// shareAfter returns the percentage that a backend has so long after it came back: it grows linearly from 1 to 100.
func shareAfter(elapsed, slowStart time.Duration) int {
	if elapsed >= slowStart {
		return whole
	}
	return 1 + int((whole-1)*elapsed.Seconds()/slowStart.Seconds())
}

// dropWhole forgets the backends that ramp no longer. The mutex is held.
func (p *Pool) dropWhole() {
	p.ramping = slices.DeleteFunc(p.ramping, func(b *Backend) bool { return b.share == whole })
}

// admits reports whether a backend takes the client of this hash already. One that ramps takes a part of the clients
// that grows with its share, so a client that it has taken stays. Its share counts against the largest of the
// candidates': where all ramp side by side, after an outage of the whole pool, each takes all of its own. The pool's
// mutex is held.
func (b *Backend) admits(client uint64, candidates []*Backend) bool {
	if b.share == whole {
		return true
	}
	largest := b.share
	for _, c := range candidates {
		largest = max(largest, c.share)
	}
	ticket := int(mix(^client) % whole) // the client's own, whatever the backend; not the hash that is drawn by
	return ticket*largest < b.share*whole
}
