package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"sluice/cmd/sluice/internal/systemd"
)

// serve runs a balancer until a signal ends it and its sessions are over, or until it fails. It stops the balancer in
// either case. The service manager is told.
func (b *balancer) serve(signals <-chan os.Signal, notifier *systemd.Notifier) error {
	defer b.stop()
	if err := b.start(); err != nil {
		return err
	}
	signs := newLifeSigns(notifier, b.server.Responds, b.openSessions, b.log)
	defer signs.start()()
	for {
		select {
		case err := <-b.server.Failed():
			return err
		case s := <-signals:
			if ends(s) {
				return b.leave(s, signals, signs)
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

// leave ends a balancer that serves. For shutdown.delay it only says that it is not ready, so that whoever sends clients
// here sends them elsewhere before the first is refused. A second signal ends that.
func (b *balancer) leave(first os.Signal, signals <-chan os.Signal, signs *lifeSigns) error {
	delay := b.file.Shutdown.Delay
	b.admin.Drain()
	if delay == 0 {
		return b.drain(first, signals, signs)
	}
	signs.leave("leaving, connections are still taken")
	b.log.Info("leaving: connections are still taken", "signal", first.String(), "delay", delay)
	over := time.NewTimer(delay)
	defer over.Stop()
	for {
		select {
		case <-over.C:
			return b.drain(first, signals, signs)
		case err := <-b.server.Failed():
			return err
		case s := <-signals:
			if ends(s) {
				return b.drain(s, signals, signs)
			}
			b.obey(s)
		}
	}
}

// drain gives up every address, that of a listener as those of the admin API, so that a successor may start, and waits
// for the last session to end. When shutdown.drain is over, or at one more signal, the sessions that are left are cut,
// but those that only deliver what a peer has finished saying; yet one more signal ends them too. That too is a success:
// it was asked for.
func (b *balancer) drain(last os.Signal, signals <-chan os.Signal, signs *lifeSigns) error {
	timeout := b.file.Shutdown.Drain
	signs.leave("draining")
	b.admin.Release()
	b.log.Info("draining", "signal", last.String(), "sessions", b.openSessions(), "timeout", timeout)
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
				cut(errors.New("another signal came"))
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
