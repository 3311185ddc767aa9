package main

import (
	"context"
	"errors"
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

// interrupt ends a hand-over that has not come to sessions yet, and the wait for those that are left.
func (h *handover) interrupt() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.moved == 0 && !h.committed {
		h.stopping = true
		_ = h.conn.SetDeadline(time.Unix(1, 0)) // long ago
	}
	select {
	case <-h.haste:
	default:
		close(h.haste)
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
	if began := time.Now(); h.departure.Left() > 0 && h.speaks.Understood() {
		if err := h.moveStragglers(wait); err != nil {
			w.log.Error("upgrade: sessions that are left can no longer go over", "sessions", h.departure.Left(), "error", err)
			wait = max(0, wait-time.Since(began)) // they may end by themselves
		} else {
			wait = 0
		}
	}
	h.departure.Finish()
	h.endLeft(wait)
	h.status.Sessions = h.moved
	if h.status.Left > 0 && h.speaks.Understood() {
		h.within(ackTime)
		_ = h.conn.Send(handoff.Farewell, takeover.Farewell{Counters: w.counters(), Upgrade: h.status}) // it can do without
	}
}

const forever = time.Duration(1<<63 - 1)

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// moveStragglers moves the sessions that are left as soon as they can be, for so long at most. An error means that no other
// can go.
func (h *handover) moveStragglers(wait time.Duration) error {
	over := time.NewTimer(wait)
	defer over.Stop()
	pace := time.NewTicker(stragglerPace)
	defer pace.Stop()
	for left := -1; ; {
		if err := h.moveSome(&left); err != nil || left == 0 {
			return err
		}
		select {
		case <-pace.C:
		case <-over.C:
			return nil
		case <-h.haste:
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

// endLeft waits for so long for the sessions that are left to end, and ends the others.
func (h *handover) endLeft(wait time.Duration) {
	ctx, cut := context.WithCancelCause(context.Background())
	defer cut(nil)
	ended := make(chan error, 1)
	over := time.NewTimer(wait)
	defer over.Stop()
	if wait > 0 {
		go func() { ended <- h.w.server.Shutdown(ctx) }()
		select {
		case <-ended:
			return
		case <-h.haste:
		case <-over.C:
		}
	}
	h.nameLeft()
	cut(errors.New("the time for the upgrade is over"))
	h.w.server.EndAll()
	if wait == 0 {
		ended <- h.w.server.Shutdown(ctx)
	}
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
