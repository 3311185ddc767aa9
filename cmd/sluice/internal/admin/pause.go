package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// Pause takes no further request until Resume. The listeners stay open: who connects waits in the kernel's backlog, for
// this process or for one that the listeners were handed to. Answers that are under way are sent first, but for that of
// a request to upgrade, which comes at the end; connections on which nothing more is asked are closed. One that has just
// come may ask. When ctx is done before, those whose request is not complete are closed too, and the error says how many
// answers are still to come.
func (s *Server) Pause(ctx context.Context) error {
	s.mu.Lock()
	servers := s.servers
	s.paused = true
	s.mu.Unlock()
	left := 0
	for _, one := range servers {
		one.places.pause()
	}
	for _, one := range servers {
		left += one.places.settle(ctx)
	}
	if left > 0 {
		return fmt.Errorf("pause admin API: %d requests are not answered yet: %w", left, ctx.Err())
	}
	return nil
}

// Resume takes requests again.
func (s *Server) Resume() {
	s.mu.Lock()
	servers := s.servers
	s.paused = false
	s.mu.Unlock()
	for _, one := range servers {
		one.places.resume()
	}
}

// A deadliner is a listener whose Accept can be ended: each of package net is one.
type deadliner interface{ SetDeadline(time.Time) error }

// pause makes Accept wait. It does not wait for it.
func (p *places) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hold != nil {
		return
	}
	p.hold = make(chan struct{})
	_ = p.Listener.(deadliner).SetDeadline(time.Unix(1, 0)) // long ago; it fails only when it is closed
}

func (p *places) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hold == nil {
		return
	}
	_ = p.Listener.(deadliner).SetDeadline(time.Time{})
	close(p.hold)
	p.hold, p.held = nil, false
}

func (p *places) paused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hold != nil
}

// accept takes a connection out of the backlog. During a pause it takes none.
func (p *places) accept() (net.Conn, error) {
	for {
		c, err := p.Listener.Accept()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return c, err
		}
		p.mu.Lock()
		hold := p.hold
		p.held = hold != nil
		p.mu.Unlock()
		if hold == nil {
			continue // it was resumed meanwhile
		}
		p.tell()
		select {
		case <-hold:
		case <-p.closed:
			return nil, net.ErrClosed
		}
	}
}

// settle waits until nothing is asked any more, and returns how many answers are still to come when ctx is done before.
func (p *places) settle(ctx context.Context) (left int) {
	for {
		if p.quiet(ctx.Err() != nil) {
			return 0
		}
		if ctx.Err() != nil {
			return p.answering()
		}
		select {
		case <-p.news:
		case <-time.After(idlePatience): // what was unread may be read
		case <-ctx.Done():
		case <-p.closed:
			return 0
		}
	}
}

// quiet closes the connections that have no answer to wait for, and reports whether there are no others, and no new one
// can come. late: those on which a request has begun are closed too.
func (p *places) quiet(late bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting := !p.held || p.door != nil
	for c := range p.open {
		switch {
		case c.last:
		case late && c.state <= asking || c.state == idle && !c.unread():
			_ = c.Conn.Close() // its goroutine finds out
			delete(p.open, c)
		default:
			waiting = true
		}
	}
	return !waiting
}

// answering counts the connections whose answer is to come.
func (p *places) answering() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		if !c.last {
			n++
		}
	}
	return n
}
