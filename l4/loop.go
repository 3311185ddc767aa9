package l4

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"sluice/sysutil"
)

// Numbers of a loop. bench/results has the measurements behind them.
const (
	// eventBatch is how many events are taken from the kernel at a time:
	// fewer would cost calls, more would delay the first of the next batch.
	eventBatch = 256
	// scratchSize is one read of the copy path. It fits the level 2 cache
	// with room to spare.
	scratchSize = 64 << 10
)

// A loop is one epoll loop on one locked thread. Everything in it belongs to
// its goroutine, except the inbox and the atomics at the end.
type loop struct {
	server   *Server
	index    int
	poller   *sysutil.Poller
	events   []sysutil.Event
	inbox    inbox
	sessions slab
	timers   *wheel
	pipes    *sysutil.PipePool
	buffers  bufferPool
	openings openingPool
	scratch  []byte
	sockets  []socket      // this loop's view of the listening sockets, and free places for others
	queue    []token       // streams with an event, and sessions that used up their turn
	streamed uint64        // bytes moved since runQueue began
	now      time.Duration // the server's clock without what stalled is
	stalled  time.Duration // for which the process stood still, see readClock
	tolerate time.Duration // how late the loop may be before it has stood still; 0 = as late as it likes
	small    time.Duration // when a session last moved a message that is no part of a stream
	lastID   uint64
	resting  int           // sockets that rest after an error
	watching bool          // the sockets are watched; does not change while the loop runs
	rivalled bool          // another process may be woken for a connection, and leave it to this one
	shortBy  time.Duration // until when sessions at hand come first with descriptors and memory
	freed    bool          // a session ended since resting sockets were last looked at
	draining bool          // close drained when the last session has ended
	cutting  bool          // a session that comes back is cut off, as those were that there are
	stopped  bool          // leave run
	drained  chan struct{}
	log      *slog.Logger

	load   atomic.Int64 // sessions, those on their way in the inbox included
	stale  atomic.Uint64
	cursor atomic.Int32 // slot at which EndSessions goes on to look
}

func newLoop(srv *Server, index int) (_ *loop, err error) {
	l := &loop{
		server:  srv,
		index:   index,
		events:  make([]sysutil.Event, eventBatch),
		pipes:   sysutil.NewPipePool(srv.pipes),
		scratch: make([]byte, scratchSize),
		drained: make(chan struct{}),
		log:     srv.log.With("loop", index),
	}
	l.timers = newWheel(func(slot int32) *timer { return &l.sessions.at(slot).timer })
	if l.poller, err = sysutil.NewPoller(eventBatch); err != nil {
		return nil, err
	}
	if err := l.inbox.open(l.poller); err != nil {
		l.poller.Close()
		return nil, err
	}
	l.now = srv.clock()
	return l, nil
}

// run is the whole life of a loop. It returns when it was told to exit, or
// with an error when epoll itself fails.
func (l *loop) run() error {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	l.tolerate = stallTime
	for !l.stopped {
		if err := l.runOnce(l.patience()); err != nil {
			// Nothing is closed: other loops still post to this one's inbox.
			return fmt.Errorf("run loop %d: %w", l.index, err)
		}
	}
	l.close()
	return nil
}

// patience is how long the loop may wait for events; negative = for ever.
func (l *loop) patience() time.Duration {
	if len(l.queue) > 0 {
		return 0
	}
	wait := l.timers.until(l.now)
	if l.resting > 0 && (wait < 0 || wait > restTime) {
		wait = restTime
	}
	return wait
}

// runOnce deals with one batch of events, then gives every session that still
// had work one more turn, then fires timers. It is separate from run so that
// a test can drive a loop step by step.
func (l *loop) runOnce(wait time.Duration) error {
	n, err := l.poller.Wait(l.events, wait)
	if err != nil {
		return err
	}
	l.readClock(wait)
	for i := range l.events[:n] {
		l.dispatch(token(l.events[i].Token), l.events[i].Ready)
	}
	l.runQueue()
	l.timers.advance(l.now, l.expire)
	l.wakeResting()
	if l.draining && l.load.Load() == 0 {
		l.draining = false
		close(l.drained)
	}
	return nil
}

// stallTime is how late a loop is that has not run: stopped, frozen with its cgroup, or
// on a machine that was moved. A turn takes milliseconds.
const stallTime = 250 * time.Millisecond

// readClock tells the time after a wait for events. A loop's clock stands still
// while the loop does: it must not hold against anybody what it has missed itself, but
// for as much as any turn may be late. So the clock of a loop that always is goes on.
// A stop that ends before the wait would have has made no deadline pass.
func (l *loop) readClock(wait time.Duration) {
	now := l.server.clock() - l.stalled
	if late := now - l.now - wait; l.tolerate != 0 && wait >= 0 && late > l.tolerate {
		if l.server.stalls.due(now) {
			l.log.Warn("the process stood still: deadlines wait for it", "for", late.Round(time.Millisecond))
		}
		l.stalled += now - l.now - l.tolerate
		now = l.now + l.tolerate
	}
	l.now = now
}

func (l *loop) dispatch(t token, bits sysutil.Ready) {
	if t&specialBit != 0 {
		if t == tokenInbox {
			l.readInbox()
		} else {
			l.accept(&l.sockets[t-tokenInbox-1])
		}
		return
	}
	s := l.sessions.find(t)
	if s == nil {
		l.stale.Add(1) // closed earlier in this batch
		return
	}
	l.ready(s, side(t>>63), bits)
}

// enqueue gives s a turn after the events at hand. Edge-triggered epoll does
// not repeat itself, so a session that stops while its sockets are still ready
// would otherwise never be heard of again.
func (l *loop) enqueue(s *session) {
	if !s.queued {
		s.queued = true
		l.queue = append(l.queue, s.token(client))
	}
}

// runQueue gives a turn to each session that is queued now, first come first
// served. Those that queue again, and while small messages pass also those
// beyond the first sharedTurn bytes, wait for the next batch of events.
func (l *loop) runQueue() {
	ran, waiting := 0, len(l.queue)
	for l.streamed = 0; ran < waiting && (ran == 0 || l.streamed < l.turn()); ran++ {
		if s := l.sessions.find(l.queue[ran]); s != nil {
			s.queued = false
			l.step(s)
		}
	}
	l.queue = append(l.queue[:0], l.queue[ran:]...)
}

// nextID returns a number that no other session of this process has.
func (l *loop) nextID() uint64 {
	l.lastID++
	return l.lastID*uint64(len(l.server.loops)) + uint64(l.index)
}

// readInbox carries out what other goroutines asked for.
func (l *loop) readInbox() {
	for _, m := range l.inbox.take() {
		switch m.kind {
		case adoptConnection:
			l.begin(m.rules, m.fd, m.peer, m.counted)
		case setSockets:
			l.setSockets(m.doors)
			m.ended(0)
		case takeBacklogs:
			l.takeBacklogs(m)
		case slotGranted:
			l.slotGranted(m.token)
		case visitSlots:
			l.visitSlots(m)
		case answerNow:
			m.ended(0)
		case carryOut:
			m.do()
		case placesFreed:
			l.freed = true
		case cancelDone:
			l.cancelDone(m.token, m.reason)
		case reportDrained:
			l.draining = true
		case cutSessions:
			l.cutting = true
			l.endAll(func(s *session) { l.cutOff(s, Shutdown) })
		case endSessions:
			l.endAll(func(s *session) { l.end(s, Shutdown, 0) })
			l.shortBy = 0
		case exitLoop:
			l.stopped = true
		}
	}
}

// close releases what the loop itself holds. All sessions have ended.
func (l *loop) close() {
	l.pipes.Close()
	l.inbox.close()
	l.poller.Close()
}
