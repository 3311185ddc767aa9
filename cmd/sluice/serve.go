package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/systemd"
)

// serve runs a world until a signal ends it and its sessions are over, or until it fails. It stops the world in
// either case. The service manager is told.
func (w *world) serve(signals <-chan os.Signal, notifier *systemd.Notifier) error {
	defer w.stop()
	ended, err := w.startHeeding(signals)
	if err != nil {
		w.letEnd(err, signals)
		if errors.Is(err, errAsked) {
			w.log.Info("upgrade: given up, the process before goes on")
			return nil
		}
		return err
	}
	signs := newLifeSigns(notifier, w.server.Responds, w.openSessions, w.log)
	w.signs.Store(signs)
	defer signs.start()()
	if ended != nil {
		return w.leave(ended, signals, signs)
	}
	for {
		select {
		case err := <-w.server.Failed():
			return err
		case <-w.handed:
			return nil
		case s := <-signals:
			if ends(s) {
				return w.leave(s, signals, signs)
			}
			w.obey(s)
		}
	}
}

// ends reports whether a signal asks the process to end.
func ends(s os.Signal) bool { return s == syscall.SIGTERM || s == syscall.SIGINT }

// obey does what a signal asks for that does not end the process. It does not block.
func (w *world) obey(s os.Signal) {
	if s == syscall.SIGHUP {
		w.askReload("SIGHUP")
		return
	}
	go func() { // it is logged how it goes
		_, _ = w.Upgrade(context.Background(), admin.UpgradeRequest{}, admin.By{User: "SIGUSR2"})
	}()
}

// letEnd lets the sessions end that have come from a process which then has not handed over the rest, and goes on.
func (w *world) letEnd(why error, signals <-chan os.Signal) {
	if w.from == nil || w.from.adopted == 0 {
		return
	}
	w.expectNone() // nobody says any more what that one has: what waits here for a place would wait in vain
	w.log.Error("upgrade failed: the process before goes on, and sessions that had come stay until they end",
		"sessions", w.from.adopted, "error", why)
	if err := w.drain("", signals, newLifeSigns(nil, w.server.Responds, w.openSessions, w.log)); err != nil {
		w.log.Error("sessions were cut", "error", err)
	}
}

// standDown ends the hand-over that is under way, or waits for what becomes of it, and reports whether another process
// serves. Sessions that are left are waited for then, see patience; one more signal ends them.
func (w *world) standDown(first os.Signal, signals <-chan os.Signal) (handed bool) {
	if h := w.succession.underWay(); h != nil {
		w.log.Info("upgrade: a signal came", "signal", first.String())
		h.interrupt()
		select {
		case <-h.over:
		case <-h.serves:
			w.untilOver(h, signals)
		}
	}
	w.succession.bar(errLeaving)
	select {
	case <-w.handed:
		return true
	default:
		return false
	}
}

// untilOver waits for the sessions that a hand-over has left. A signal that ends sluice ends them.
func (w *world) untilOver(h *handover, signals <-chan os.Signal) {
	for {
		select {
		case <-h.over:
			return
		case s := <-signals:
			if ends(s) {
				h.hurry()
			} else {
				w.obey(s)
			}
		}
	}
}

// leave ends a world that serves. For shutdown.delay it only says that it is not ready, so that whoever sends clients
// here sends them elsewhere before the first is refused. A second signal ends that.
func (w *world) leave(first os.Signal, signals <-chan os.Signal, signs *lifeSigns) error {
	if w.standDown(first, signals) {
		return nil
	}
	delay := w.now.Load().force.Shutdown.Delay
	w.admin.Drain()
	if delay == 0 {
		return w.drain(first.String(), signals, signs)
	}
	signs.leave("leaving, connections are still taken")
	w.log.Info("leaving: connections are still taken", "signal", first.String(), "delay", delay)
	over := time.NewTimer(delay)
	defer over.Stop()
	for {
		select {
		case <-over.C:
			return w.drain(first.String(), signals, signs)
		case err := <-w.server.Failed():
			return err
		case s := <-signals:
			if ends(s) {
				return w.drain(s.String(), signals, signs)
			}
			w.obey(s)
		}
	}
}

// drain gives up every address, that of a listener as those of the admin API, so that a successor may start, and waits
// for the last session to end. When shutdown.drain is over, or at one more signal, the sessions that are left are cut,
// but those that only deliver what a peer has finished saying; yet one more signal ends them too. That too is a success:
// it was asked for.
func (w *world) drain(by string, signals <-chan os.Signal, signs *lifeSigns) error {
	timeout := w.now.Load().force.Shutdown.Drain
	signs.leave("draining")
	w.admin.Release()
	w.log.Info("draining", "signal", by, "sessions", w.openSessions(), "timeout", timeout)
	ctx, cut := context.WithCancelCause(context.Background())
	defer cut(nil)
	if timeout > 0 {
		timer := time.AfterFunc(timeout, func() { cut(fmt.Errorf("the drain timeout of %v is over", timeout)) })
		defer timer.Stop()
	}
	drained := make(chan error, 1)
	go func() {
		w.stay()
		drained <- w.server.Shutdown(ctx)
	}()
	for {
		select {
		case err := <-drained:
			if err != nil {
				w.log.Warn("sessions were cut", "reason", err)
			}
			return nil
		case err := <-w.server.Failed():
			return err
		case s := <-signals:
			switch {
			case !ends(s):
				w.obey(s)
			case ctx.Err() == nil:
				cut(errors.New("another signal came"))
			default:
				w.server.EndAll()
			}
		}
	}
}

func (w *world) openSessions() int {
	n := 0
	for _, l := range w.server.Stats().Loops {
		n += l.Sessions
	}
	return n
}
