package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/takeover"
	"sluice/configs"
	"sluice/l4"
	"sluice/sysutil/handoff"
)

// giveBack lets this process go on after a hand-over that has failed.
func (h *handover) giveBack(err error) {
	w := h.w
	if h.departure != nil {
		h.departure.Abandon()
		h.status.AcceptPause = time.Since(h.stopped).Seconds()
	}
	err = h.reason(err)
	_ = h.conn.SetDeadline(time.Now().Add(wordTime))
	peer := (*handoff.PeerError)(nil)
	told := h.conn.Send(handoff.Failed, handoff.PeerError{Text: err.Error()}) == nil || errors.As(err, &peer)
	_ = h.conn.Close()
	w.admin.Resume()
	w.unhold()
	h.reloaded()
	if h.committed { // the file may name the process that has died
		if err := w.pidFile.write(); err != nil {
			w.log.Error("the pid file names a process that has ended", "error", err)
		}
	}
	err = h.explain(err, told)
	h.seeOff(told)
	h.status.OK, h.status.Error, h.status.Sessions = false, err.Error(), h.moved
	h.status.Left, h.status.Total = 0, time.Since(h.status.At).Seconds()
	w.metrics.Upgraded(&h.status)
	if h.child == nil { // else Upgrade says so
		w.logUpgradeFailed(h.by, err)
	}
	w.succession.leave(h, h.result(err), nil)
}

// interrupt ends a hand-over that has not come to sessions yet, and bounds the wait for those that are left.
func (h *handover) interrupt() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.moved == 0 && !h.committed {
		h.stopping = true
		_ = h.conn.SetDeadline(time.Unix(1, 0)) // long ago
	}
	closeOnce(h.asked)
}

// hurry ends the wait for the sessions that are left.
func (h *handover) hurry() {
	h.mu.Lock()
	defer h.mu.Unlock()
	closeOnce(h.haste)
}

func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

// stragglerPace is how often it is looked whether sessions that are left can go.
const stragglerPace = 20 * time.Millisecond

// finish sees to the sessions that are left, after which this process ends.
func (h *handover) finish() {
	w := h.w
	w.log.Info("upgrade: another process serves", "pid", h.peer.PID, "version", h.speaks.Version, "sessions", h.status.Sessions,
		"left", h.status.Left, "accept_pause", seconds(h.status.AcceptPause), "longest_pause", seconds(h.status.LongestPause),
		"total", seconds(h.status.Total))
	file := w.now.Load().force
	wait := file.Upgrade.Deadline
	if file.Upgrade.Leftover == configs.LeftoverDrain || !h.speaks.Understood() {
		if wait += file.Shutdown.Drain; file.Shutdown.Drain == 0 {
			wait = forever
		}
	}
	patience, stop := h.patience(wait, file.Shutdown.Drain)
	defer stop()
	if h.departure.Left() > 0 && h.speaks.Understood() {
		if err := h.moveStragglers(patience); err != nil { // they may end by themselves
			w.log.Error("upgrade: sessions that are left can no longer go over", "sessions", h.departure.Left(), "error", err)
		}
	}
	h.departure.Finish()
	h.endLeft(patience)
	h.status.Sessions = h.moved
	if h.status.Left > 0 && h.speaks.Understood() {
		h.within(ackTime)
		_ = h.conn.Send(handoff.Farewell, takeover.Farewell{Counters: w.counters(), Upgrade: h.status}) // it can do without
	}
}

const forever = time.Duration(1<<63 - 1)

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// patience is done when sessions that are left are waited for no more: when wait is over; and once this process is to end,
// when drain is over too, which is never if it is zero, or at haste.
func (h *handover) patience(wait, drain time.Duration) (ctx context.Context, stop func()) {
	ctx, end := context.WithCancelCause(context.Background())
	go func() {
		over := time.NewTimer(wait)
		defer over.Stop()
		var drained <-chan time.Time
		for asked := h.asked; ; {
			select {
			case <-asked:
				if asked = nil; drain > 0 {
					drained = time.After(drain)
				}
			case <-over.C:
				end(errors.New("the time for the upgrade is over"))
			case <-drained:
				end(fmt.Errorf("the drain timeout of %v is over", drain))
			case <-h.haste:
				end(errors.New("another signal came"))
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() { end(nil) }
}

// moveStragglers moves the sessions that are left as soon as they can be. An error means that no other can go.
func (h *handover) moveStragglers(patience context.Context) error {
	pace := time.NewTicker(stragglerPace)
	defer pace.Stop()
	for left := -1; ; {
		if err := h.moveSome(&left); err != nil || left == 0 {
			return err
		}
		select {
		case <-pace.C:
		case <-patience.Done():
			return nil
		}
	}
}

// moveSome moves the sessions that can be now, and tells how many are left when that has changed.
func (h *handover) moveSome(left *int) error {
	if err := h.move(false); err != nil {
		return err
	}
	n := h.departure.Left()
	if n == *left {
		return nil
	}
	*left = n
	return h.send(handoff.Go, takeover.Go{Remaining: h.departure.Remaining()})
}

// namedLeft is how many of the sessions that are left are logged.
const namedLeft = 50

// endLeft waits for the sessions that are left to end, and ends the others.
func (h *handover) endLeft(patience context.Context) {
	ctx, cut := context.WithCancelCause(context.Background())
	defer cut(nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = h.w.server.Shutdown(ctx) // what it cuts is named
	}()
	select {
	case <-ended:
		return
	case <-patience.Done():
	}
	h.nameLeft()
	cut(context.Cause(patience))
	h.w.server.EndAll()
	<-ended
}

// nameLeft logs the sessions that are about to be ended.
func (h *handover) nameLeft() {
	w, n := h.w, 0
	_ = w.server.VisitSessions(context.Background(), func(sessions []l4.SessionStats) error {
		for _, s := range sessions {
			if n++; n <= namedLeft {
				w.log.Warn("upgrade: a session is ended: it could not go over in time", "id", s.ID, "listener", s.Listener, "pool", s.Pool,
					"backend", s.Backend, "client", admin.ClientText(s.Client), "state", s.State)
			}
		}
		return nil
	})
	if n > namedLeft {
		w.log.Warn("upgrade: more sessions are ended", "sessions", n-namedLeft)
	}
	h.status.Ended = n
}
