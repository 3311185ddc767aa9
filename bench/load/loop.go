package load

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"sluice/sysutil"
)

const (
	// wakeToken marks the waker; a session's token is its index with the generation above it.
	wakeToken = ^uint64(0)
	batch     = 256
	// turn is how much a stream moves before its neighbours' turn.
	turn = 4 * chunk
)

// loop drives some sessions of one flow on a locked thread. Everything but
// the atomics belongs to that thread while serve runs.
type loop struct {
	run       *run
	flow      Flow
	flowIndex int
	poller    *sysutil.Poller
	waker     *sysutil.Waker
	sessions  []session
	again     []*session // used up their turn and may go on at once
	spare     []*session // the other buffer of again
	rests     []rest     // in the order in which they end, for all pauses are alike
	pat       []byte
	in, out   []byte    // scratch; out holds the flow's message
	latency   Histogram // of the measurement
	bytes     uint64    // of the measurement
	draining  bool

	live    atomic.Int64  // sessions that have not ended
	replies atomic.Uint64 // since the start
}

func newLoop(r *run, flowIndex, sessions int) (*loop, error) {
	flow := r.plan.Flows[flowIndex]
	out, err := flow.message()
	if err != nil {
		return nil, err
	}
	poller, waker, err := newWakeable()
	if err != nil {
		return nil, err
	}
	l := &loop{run: r, flow: flow, flowIndex: flowIndex, poller: poller, waker: waker,
		sessions: make([]session, sessions), pat: pattern(), in: make([]byte, chunk), out: out}
	l.live.Store(int64(sessions))
	return l, nil
}

// newWakeable returns a poller and what ends its Wait, with wakeToken.
func newWakeable() (*sysutil.Poller, *sysutil.Waker, error) {
	poller, err := sysutil.NewPoller(batch)
	if err != nil {
		return nil, nil, err
	}
	waker, err := sysutil.NewWaker()
	if err != nil {
		poller.Close()
		return nil, nil, err
	}
	if errno := poller.AddReadable(waker.Fd(), wakeToken); errno != 0 {
		poller.Close()
		waker.Close()
		return nil, nil, fmt.Errorf("watch eventfd: %w", errno)
	}
	return poller, waker, nil
}

func (l *loop) close() {
	l.poller.Close()
	l.waker.Close()
}

// serve opens the sessions and serves them until each has ended or the run is aborted.
func (l *loop) serve() {
	runtime.LockOSThread()
	// Unlocked, so that the thread survives: the death of a thread kills the
	// processes it has started (PR_SET_PDEATHSIG).
	defer runtime.UnlockOSThread()
	for i := range l.sessions {
		s := &l.sessions[i]
		s.index = uint32(i)
		l.open(s)
	}
	events := make([]sysutil.Event, batch)
	for l.live.Load() > 0 && l.run.phase.Load() != phaseAbort {
		if !l.draining && l.run.phase.Load() == phaseDrain {
			l.drain()
			continue
		}
		if err := l.turn(events); err != nil {
			l.run.fail(err)
			break
		}
	}
	for i := range l.sessions {
		if s := &l.sessions[i]; s.state != ended {
			sysutil.Close(s.fd)
		}
	}
}

// A rest is the pause of a session, until the time due.
type rest struct {
	session *session
	due     time.Duration
}

// patience is how long the loop may wait for events; negative: for ever.
func (l *loop) patience() time.Duration {
	switch {
	case len(l.again) > 0:
		return 0
	case len(l.rests) > 0:
		return max(0, l.rests[0].due-l.now())
	}
	return -1
}

// wakeRested lets the sessions go on whose pause is over.
func (l *loop) wakeRested() {
	for len(l.rests) > 0 && l.rests[0].due <= l.now() {
		s := l.rests[0].session
		l.rests = l.rests[1:]
		if s.state == resting {
			l.ask(s)
		}
	}
}

func (l *loop) turn(events []sysutil.Event) error {
	n, err := l.poller.Wait(events, l.patience())
	if err != nil {
		return err
	}
	for _, ev := range events[:n] {
		if ev.Token == wakeToken {
			l.waker.Clear()
			continue
		}
		s := &l.sessions[uint32(ev.Token)]
		// An event of a connection that this slot has closed since the batch was taken.
		if s.generation != uint32(ev.Token>>32) || s.state == ended {
			continue
		}
		l.step(s, ev.Ready)
	}
	queue := l.again
	l.again = l.spare[:0]
	for _, s := range queue {
		s.queued = false
		if s.state != ended {
			l.step(s, 0)
		}
	}
	l.spare = queue
	l.wakeRested()
	return nil
}

func (l *loop) queueAgain(s *session) {
	if !s.queued {
		s.queued = true
		l.again = append(l.again, s)
	}
}

// drain ends what nothing is outstanding for, and tells the backend of an upload that it is complete.
func (l *loop) drain() {
	l.draining = true
	for i := range l.sessions {
		switch s := &l.sessions[i]; {
		case s.state == ended:
		case l.flow.Work == Download, s.state == held, s.state == resting:
			l.end(s)
		case l.flow.Work == Upload:
			l.finishUpload(s)
		}
	}
}

func (l *loop) measuring() bool { return l.run.phase.Load() == phaseMeasure }

func (l *loop) now() time.Duration { return time.Since(l.run.base) }
