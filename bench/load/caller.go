package load

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"time"

	"sluice/sysutil"
)

// A Caller makes one connection after the other: connect, a message, its reply, close. What fails is counted, and the next
// is made.
type Caller struct {
	dialer *dialer
	base   time.Time
	rest   time.Duration
	poller *sysutil.Poller
	live   sync.WaitGroup
	events [1]sysutil.Event
	in     []byte
	out    []byte
	calls  uint64

	mu     sync.Mutex
	closed bool
	busy   bool          // a connection is under way
	began  time.Duration // of that or the last one
	log    Calls         // since the window began
}

// Calls are what became of the connections that were not over when a window began.
type Calls struct {
	Made    int // connections that got their reply
	Refused int // by a reset in answer to the first packet: nobody listened
	Reset   int // after they were made, or by a FIN before the reply
	Silent  int // got no reply in time
	Other   int // failed before they were on their way, or brought wrong bytes
	First   error
	// Latency is from before connect(2) to the reply's last byte, of those that got one.
	Latency Histogram
	Longest time.Duration // likewise, those that failed included
}

// StartCaller returns a Caller at work. It rests so long after each connection.
func StartCaller(target netip.AddrPort, sources, size int, rest time.Duration) (*Caller, error) {
	poller, err := sysutil.NewPoller(1)
	if err != nil {
		return nil, err
	}
	c := &Caller{dialer: newDialer(target, sources), base: time.Now(), rest: rest, poller: poller,
		in: make([]byte, chunk), out: message(size)}
	c.live.Go(c.work)
	return c, nil
}

// Close ends the work.
func (c *Caller) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.live.Wait()
	c.poller.Close()
}

// Begin starts a window: what was counted so far is forgotten.
func (c *Caller) Begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = Calls{}
}

// End returns what became of every connection that was begun up to now.
func (c *Caller) End(ctx context.Context) (Calls, error) {
	until := time.Since(c.base)
	for {
		c.mu.Lock()
		log, over := c.log, !c.busy || c.began > until
		c.mu.Unlock()
		if over {
			return log, nil
		}
		select {
		case <-ctx.Done():
			return Calls{}, context.Cause(ctx)
		case <-time.After(time.Millisecond):
		}
	}
}

func (c *Caller) work() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for c.begin() {
		err := c.call()
		c.mu.Lock()
		c.busy = false
		c.log.add(time.Since(c.base)-c.began, err)
		c.mu.Unlock()
		time.Sleep(c.rest)
	}
}

// begin notes that a connection begins; false: there are to be no more.
func (c *Caller) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.busy, c.began = true, time.Since(c.base)
	}
	return !c.closed
}

// call makes one connection.
func (c *Caller) call() error {
	fd, err := c.dialer.dial()
	if err != nil {
		return err
	}
	defer sysutil.Close(fd)
	c.calls++
	if errno := c.poller.AddConnecting(fd, 0); errno != 0 {
		return errno
	}
	head := makeHead(opExchange, len(c.out), c.calls)
	copy(c.out, head[:])
	sent, got := 0, 0
	for deadline := time.Now().Add(defaultPatience); ; {
		left := time.Until(deadline)
		if left <= 0 {
			return errPatience
		}
		if _, err := c.poller.Wait(c.events[:], left); err != nil {
			return err
		}
		if sent < len(c.out) {
			n, errno := sysutil.Send(fd, c.out[sent:])
			if errno != 0 && errno != syscall.EAGAIN {
				return errno
			}
			sent += n
		}
		if got, err = c.receive(fd, got); err != nil || got == len(c.out) {
			return err
		}
	}
}

// receive takes what is there of the reply, and returns how much of it has come.
func (c *Caller) receive(fd, got int) (int, error) {
	for got < len(c.out) {
		n, errno := sysutil.Recv(fd, c.in[:len(c.out)-got])
		switch {
		case errno == syscall.EAGAIN:
			return got, nil
		case errno != 0:
			return got, errno
		case n == 0:
			return got, errEarlyEnd
		}
		if err := checkBody(c.out, c.in[:n], got); err != nil {
			return got, err
		}
		got += n
	}
	return got, nil
}

// add counts one connection.
func (l *Calls) add(took time.Duration, err error) {
	l.Longest = max(l.Longest, took)
	switch {
	case err == nil:
		l.Made++
		l.Latency.Record(took)
		return
	case errors.Is(err, syscall.ECONNREFUSED):
		l.Refused++
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, errEarlyEnd):
		l.Reset++
	case errors.Is(err, errPatience):
		l.Silent++
	default:
		l.Other++
	}
	if l.First == nil {
		l.First = err
	}
}
