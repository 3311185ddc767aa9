package load

import (
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"sluice/sysutil"
)

// Pings says what the sessions of a Pinger do.
type Pings struct {
	Target  netip.AddrPort
	Sources int // client addresses to connect from, as in a Plan
	Size    int // of a message
	// Rest is how long a watched session rests after each reply.
	Rest time.Duration
	// Rate is how many messages a second all other sessions send together, one after the other.
	Rate int
}

// A Pinger holds sessions for as long as the caller likes, over whatever becomes of the system they go through. Each
// sends a message now and then and waits for its reply, every byte of which is compared. Some are watched: they do so all
// the time, and how long each has waited is told. Unlike a run, a session that fails ends nothing but itself: it is counted.
//
// The loop belongs to a locked thread; every method may be called from any goroutine.
type Pinger struct {
	plan    Pings
	dialer  *dialer
	base    time.Time
	poller  *sysutil.Poller
	waker   *sysutil.Waker
	live    sync.WaitGroup
	in, out []byte

	sessions []*ping
	rests    []nap   // of watched sessions, in the order in which they end
	turn     int     // the session that is next to be asked of those that are not watched
	asked    float64 // how many of those are due; counts from since
	since    time.Duration
	sweep    []*ping // to be asked, a few at a time: see goOn
	sweeping int     // that many of them have been and have not answered
	open     bool    // a window is
	replies  Histogram
	losses   Losses

	mu     sync.Mutex
	orders []func() // for the loop
	closed bool
	failed error // of the poller
}

// ping is one session. waits: a reply is outstanding; counts: it will count in the window.
type ping struct {
	fd            int // -1: not opened yet
	index         int
	waits, counts bool
	watched       bool
	swept         bool // it is one of those that a sweep waits for
	lost          bool
	sent, got     int
	count         uint32
	began         time.Duration
	longest       time.Duration // of the window
	head          head
}

// idle: it is open and waits for nothing.
func (s *ping) idle() bool { return s.fd >= 0 && !s.lost && !s.waits }

// A nap is the rest of a watched session, until the time due.
type nap struct {
	session *ping
	due     time.Duration
}

// Losses counts the sessions that have ended before their time.
type Losses struct {
	Ended, Reset, Wrong int   // by a FIN, by a reset, because of bytes that were not those sent
	First               error // of them
}

// All is their sum.
func (l Losses) All() int { return l.Ended + l.Reset + l.Wrong }

// StartPinger returns a Pinger that holds no session yet.
func StartPinger(plan Pings) (*Pinger, error) {
	if plan.Size < headSize || plan.Size > MaxMessage {
		return nil, fmt.Errorf("size %d: must be %d to %d", plan.Size, headSize, MaxMessage)
	}
	poller, waker, err := newWakeable()
	if err != nil {
		return nil, err
	}
	p := &Pinger{plan: plan, dialer: newDialer(plan.Target, plan.Sources), base: time.Now(), poller: poller, waker: waker,
		in: make([]byte, chunk), out: message(plan.Size)}
	p.live.Go(p.serve)
	return p, nil
}

// Close ends all sessions.
func (p *Pinger) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.waker.Wake()
	p.live.Wait()
	p.poller.Close()
	p.waker.Close()
}

func (p *Pinger) now() time.Duration { return time.Since(p.base) }

func (p *Pinger) serve() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread() // the thread survives: see loop.serve
	events := make([]sysutil.Event, batch)
	for p.obey() {
		n, err := p.poller.Wait(events, p.patience())
		if err != nil {
			p.fail(err)
			break
		}
		for _, ev := range events[:n] {
			if ev.Token == wakeToken {
				p.waker.Clear()
			} else if s := p.sessions[ev.Token]; !s.lost {
				p.step(s, ev.Ready)
			}
		}
		p.wakeRested()
		p.askNext()
		p.goOn()
	}
	for _, s := range p.sessions {
		if !s.lost {
			sysutil.Close(s.fd)
		}
	}
}

// obey does what was ordered since; false: the Pinger is closed.
func (p *Pinger) obey() bool {
	p.mu.Lock()
	orders, closed := p.orders, p.closed
	p.orders = nil
	p.mu.Unlock()
	for _, order := range orders {
		order()
	}
	return !closed
}

// do has f done on the loop, and waits for that. A loop that has failed does nothing more.
func (p *Pinger) do(f func()) error {
	done := make(chan struct{})
	p.mu.Lock()
	if p.failed != nil {
		defer p.mu.Unlock()
		return p.failed
	}
	p.orders = append(p.orders, func() { f(); close(done) })
	p.mu.Unlock()
	p.waker.Wake()
	<-done
	return nil
}

// fail is the end of the loop: what was ordered meanwhile is still done, so that nobody waits for ever.
func (p *Pinger) fail(err error) {
	p.mu.Lock()
	p.failed = err
	p.mu.Unlock()
	p.obey()
}

// patience is how long the loop may wait for events.
func (p *Pinger) patience() time.Duration {
	const pace = time.Millisecond // at most, of the messages that share a rate
	patience := time.Duration(-1)
	if p.plan.Rate > 0 && len(p.sessions) > 0 {
		patience = max(pace, time.Second/time.Duration(p.plan.Rate))
	}
	if len(p.rests) > 0 {
		if left := max(0, p.rests[0].due-p.now()); patience < 0 || left < patience {
			patience = left
		}
	}
	return patience
}
