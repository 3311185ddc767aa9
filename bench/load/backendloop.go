package load

import (
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"time"

	"sluice/sysutil"
)

// listenerToken marks a listener's event; its descriptor is in the low half, as a session's is.
const listenerToken = 1 << 32

// acceptBudget bounds the connections taken per event, so that several loops share a burst.
const acceptBudget = 32

// backendLoop serves sessions on a locked thread, which alone touches them.
type backendLoop struct {
	backend  *Backend
	proxy    bool
	onError  func(error)
	poller   *sysutil.Poller
	waker    *sysutil.Waker
	sessions []*answer // by descriptor
	free     []*answer
	again    []*answer
	spare    []*answer
	pat      []byte
	in, out  []byte

	mu    sync.Mutex
	inbox []*answer // handed over by another loop
}

func newBackendLoop(b *Backend, cfg BackendConfig) (*backendLoop, error) {
	poller, waker, err := newWakeable()
	if err != nil {
		return nil, err
	}
	return &backendLoop{backend: b, proxy: cfg.Proxy, onError: cfg.OnError, poller: poller, waker: waker,
		pat: pattern(), in: make([]byte, chunk), out: message(MaxMessage)}, nil
}

func (l *backendLoop) watchListeners(fds []int) error {
	for _, fd := range fds {
		if errno := l.poller.AddListener(fd, listenerToken|uint64(fd)); errno != 0 {
			return fmt.Errorf("watch listener: %w", errno)
		}
	}
	return nil
}

func (l *backendLoop) serve() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	events := make([]sysutil.Event, batch)
	for !l.backend.stop.Load() {
		if err := l.turn(events); err != nil {
			l.report(err)
			break
		}
	}
	l.adopt()
	for _, s := range l.sessions {
		if s != nil {
			sysutil.Close(s.fd)
		}
	}
}

func (l *backendLoop) turn(events []sysutil.Event) error {
	timeout := time.Duration(-1)
	if len(l.again) > 0 {
		timeout = 0
	}
	n, err := l.poller.Wait(events, timeout)
	if err != nil {
		return err
	}
	for _, ev := range events[:n] {
		l.dispatch(ev)
	}
	queue := l.again
	l.again = l.spare[:0]
	for _, s := range queue {
		s.queued = false
		if l.sessions[s.fd] == s {
			l.step(s, 0)
		}
	}
	l.spare = queue
	return nil
}

func (l *backendLoop) dispatch(ev sysutil.Event) {
	fd := int(uint32(ev.Token))
	switch {
	case ev.Token == wakeToken:
		l.waker.Clear()
		l.adopt()
	case ev.Token&listenerToken != 0:
		l.accept(fd)
	case l.sessions[fd] != nil:
		// After a close and an accept in the same batch this can be an event of the descriptor's former session. It
		// costs one recv: nothing is concluded from the bits alone.
		l.step(l.sessions[fd], ev.Ready)
	}
}

func (l *backendLoop) accept(listener int) {
	for range acceptBudget {
		fd, _, errno := sysutil.Accept(listener)
		if errno == syscall.EAGAIN {
			return
		}
		if errno == syscall.ECONNABORTED {
			continue
		}
		if errno != 0 {
			l.report(fmt.Errorf("accept: %w", errno))
			return
		}
		s := l.newAnswer()
		s.fd = fd
		s.headed = !l.proxy
		l.watch(s)
	}
}

func (l *backendLoop) newAnswer() *answer {
	if last := len(l.free) - 1; last >= 0 {
		s := l.free[last]
		l.free = l.free[:last]
		*s = answer{hello: s.hello}
		return s
	}
	return new(answer)
}

func (l *backendLoop) watch(s *answer) {
	for s.fd >= len(l.sessions) {
		l.sessions = append(l.sessions, make([]*answer, 1024)...)
	}
	l.sessions[s.fd] = s
	if errno := l.poller.AddConnecting(s.fd, uint64(s.fd)); errno != 0 {
		l.report(fmt.Errorf("watch socket: %w", errno))
		l.end(s)
	}
}

// handOver gives a session to another loop.
func (l *backendLoop) handOver(s *answer, to *backendLoop) {
	l.poller.Remove(s.fd)
	l.sessions[s.fd] = nil
	to.mu.Lock()
	to.inbox = append(to.inbox, s)
	to.mu.Unlock()
	to.waker.Wake()
}

// adopt takes what other loops have handed over. Adding a socket that is ready already brings an event at once.
func (l *backendLoop) adopt() {
	l.mu.Lock()
	inbox := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, s := range inbox {
		l.watch(s)
	}
}

func (l *backendLoop) queueAgain(s *answer) {
	if !s.queued {
		s.queued = true
		l.again = append(l.again, s)
	}
}

// end closes a session. It is not put on the free list while the again queue still names it.
func (l *backendLoop) end(s *answer) {
	sysutil.Close(s.fd)
	l.forget(s)
}

// refuse resets a session whose client sent something wrong.
func (l *backendLoop) refuse(s *answer, err error) {
	l.report(err)
	sysutil.Reset(s.fd)
	l.forget(s)
}

func (l *backendLoop) forget(s *answer) {
	l.sessions[s.fd] = nil
	s.op = opEnded
	if !s.queued {
		l.free = append(l.free, s)
	}
}

func (l *backendLoop) report(err error) {
	if l.onError != nil {
		l.onError(err)
	}
}
