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
	adoptConnection messageKind = iota // serve listener, fd, peer
	stopAccepting                      // rest all listening sockets for good, then call done
	reportDrained                      // close loop.drained when no session is left
	endSessions                        // end every session with reason shutdown
	exitLoop                           // leave run
)

type message struct {
	kind     messageKind
	fd       int
	peer     netip.AddrPort
	listener *listener
	done     func()
}

// An inbox is how other goroutines reach a loop: they append, the loop takes
// all at once. The waker only wakes; the message lies here.
type inbox struct {
	waker   *sysutil.Waker
	mu      sync.Mutex
	pending []message // guarded by mu
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
// wakes the loop: the others will be taken with it.
func (b *inbox) post(m message) {
	b.mu.Lock()
	b.pending = append(b.pending, m)
	first := len(b.pending) == 1
	b.mu.Unlock()
	if first {
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

func (b *inbox) close() { b.waker.Close() }
