package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// serve runs a balancer until a signal ends it and its sessions are over, or until it fails. It stops the balancer in
// either case.
func (b *balancer) serve(signals <-chan os.Signal, drainTimeout time.Duration) error {
	defer b.stop()
	if err := b.start(); err != nil {
		return err
	}
	for {
		select {
		case err := <-b.server.Failed():
			return err
		case s := <-signals:
			if ends(s) {
				return b.drain(s, signals, drainTimeout)
			}
			b.obey(s)
		}
	}
}

// ends reports whether a signal asks the process to end.
func ends(s os.Signal) bool { return s == syscall.SIGTERM || s == syscall.SIGINT }

// obey does what a signal asks for that does not end the process. It does not block.
func (b *balancer) obey(s os.Signal) {
	if s == syscall.SIGHUP {
		b.access.ask(s)
		return
	}
	b.log.Warn("upgrade is not supported by this version: nothing has changed", "signal", s.String())
}

// drain stops accepting and waits for the last session to end. When the timeout is over, or at a second signal, the
// sessions that are left are cut, but those that only deliver what a peer has finished saying; one more signal ends
// them too. That too is a success: it was asked for.
func (b *balancer) drain(first os.Signal, signals <-chan os.Signal, timeout time.Duration) error {
	b.admin.Drain()
	b.log.Info("draining", "signal", first.String(), "sessions", b.openSessions(), "timeout", timeout)
	ctx, cut := context.WithCancelCause(context.Background())
	defer cut(nil)
	if timeout > 0 {
		timer := time.AfterFunc(timeout, func() { cut(fmt.Errorf("the drain timeout of %v is over", timeout)) })
		defer timer.Stop()
	}
	drained := make(chan error, 1)
	go func() { drained <- b.server.Shutdown(ctx) }()
	for {
		select {
		case err := <-drained:
			if err != nil {
				b.log.Warn("sessions were cut", "reason", err)
			}
			return nil
		case err := <-b.server.Failed():
			return err
		case s := <-signals:
			switch {
			case !ends(s):
				b.obey(s)
			case ctx.Err() == nil:
				cut(errors.New("a second signal came"))
			default:
				b.server.EndAll()
			}
		}
	}
}

func (b *balancer) openSessions() int {
	n := 0
	for _, l := range b.server.Stats().Loops {
		n += l.Sessions
	}
	return n
}
