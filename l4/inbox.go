package l4

import (
	"fmt"
	"net/netip"
	"sync"

	"sluice/sysutil"
)

// What another goroutine may ask of a loop.
type messageKind uint8

const (
	adoptConnection messageKind = iota // serve fd, peer, counted by rules
	setSockets                         // accept at doors and nowhere else, then call ended
	takeBacklogs                       // accept all that waits at doors, and call ended with at how many some are left
	reportDrained                      // close loop.drained when no session is left
	slotGranted                        // the session of token has a backend
	visitSlots                         // call visit for the sessions in some slots, from slot on, and stopped with where it stopped
	answerNow                          // call ended, to show that the loop runs
	carryOut                           // call do
	placesFreed                        // there may be more places than before, see Server.Expect
	cancelDone                         // the cancel request of token is over, for reason
	cutSessions                        // end every session with reason shutdown, but those that deliver what is finished
	endSessions                        // end every session with reason shutdown
	exitLoop                           // leave run
)

type message struct {
	kind    messageKind
	fd      int
	peer    netip.AddrPort
	counted bool
	rules   *rules
	doors   []door
	token   token
	reason  Reason
	ended   func(n int)
	slot    int32
	visit   func(*session) (more bool)
	do      func()
	stopped func(walkStop)
}

// An inbox is how other goroutines reach a loop: they append, the loop takes
// all at once. The waker only wakes; the message lies here.
type inbox struct {
	waker   *sysutil.Waker
	mu      sync.Mutex
	closed  bool // guarded by mu, like pending
	pending []message
	taken   []message // the loop's; swapped with pending
}

func (b *inbox) open(p *sysutil.Poller) error {
	waker, err := sysutil.NewWaker()
	if err != nil {
		return err
	}
	if errno := p.AddReadable(waker.Fd(), uint64(tokenInbox)); errno != 0 {
		waker.Close()
		return fmt.Errorf("watch inbox: %w", errno)
	}
	b.waker = waker
	return nil
}

// post may be called from any goroutine. Only the first message after a take
// wakes the loop: the others will be taken with it. A message for a loop that
// has ended is dropped.
func (b *inbox) post(m message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.pending = append(b.pending, m)
	if len(b.pending) == 1 {
		b.waker.Wake()
	}
}

// take returns what was posted, in order. The slice is good until the next
// take. The waker is cleared first: a message posted after that wakes again.
func (b *inbox) take() []message {
	b.waker.Clear()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pending, b.taken = b.taken[:0], b.pending
	return b.taken
}

func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.waker.Close()
}
