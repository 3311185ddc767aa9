package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"sluice/cmd/sluice/internal/takeover"
	"sluice/configs"
	"sluice/sysutil"
	"sluice/sysutil/handoff"
)

// lastLook is how long something may still take when its time is over: this process may have stood still meanwhile, and
// what it waited for is there.
const lastLook = 100 * time.Millisecond

// within bounds how long what comes next may take.
func (h *handover) within(d time.Duration) { h.until(time.Now().Add(d)) }

// until is within up to a time. Nothing is waited for when it was interrupted.
func (h *handover) until(t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopping {
		t = time.Unix(1, 0) // long ago
	}
	_ = h.conn.SetDeadline(t) // it fails only when it is closed
}

// send is Send of conn, within ackTime.
func (h *handover) send(kind handoff.Kind, body any, files ...int) error {
	h.within(ackTime)
	err := h.conn.Send(kind, body, files...)
	if errors.Is(err, os.ErrDeadlineExceeded) { // behind a part of a message it fails again
		h.within(lastLook)
		err = h.conn.Send(kind, body, files...)
	}
	return err
}

// expect is Expect of conn.
func (h *handover) expect(kind handoff.Kind) (*handoff.Message, error) {
	m, err := h.conn.Expect(kind)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		h.within(lastLook)
		m, err = h.conn.Expect(kind)
	}
	return m, err
}

// ask sends something and waits until the other process has it. It returns what of it is refused.
func (h *handover) ask(kind handoff.Kind, body any, files ...int) (refused []int, err error) {
	if err := h.send(kind, body, files...); err != nil {
		return nil, err
	}
	h.within(ackTime)
	m, err := h.expect(handoff.Ack)
	if err != nil {
		return nil, err
	}
	var ack takeover.Ack
	return ack.Refused, m.Decode(&ack)
}

// heard waits for the word of the other process that it serves. It has been told to, so nothing but its end takes that
// back: one that is slow serves when it can. Until then this process stays, which has everything that it takes to go on.
func (h *handover) heard() error {
	h.within(ackTime)
	_, err := h.expect(handoff.Ack)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		h.w.log.Warn("upgrade: the new process does not say that it serves: it is waited for", "pid", h.peer.PID, "for", readyTime)
		h.within(readyTime)
		_, err = h.conn.Expect(handoff.Ack)
	}
	if peer := (*handoff.PeerError)(nil); errors.As(err, &peer) {
		return err
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && h.gone() {
		return fmt.Errorf("the new process has ended before it served: %w", err)
	}
	if err != nil {
		h.w.log.Warn("upgrade: the new process does not say that it serves", "error", err)
	}
	return nil
}

// reason returns what the other process has said of it that it could be told nothing more.
func (h *handover) reason(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	peer := (*handoff.PeerError)(nil)
	_ = h.conn.SetDeadline(time.Now().Add(lastLook))
	if _, said := h.conn.Expect(handoff.Ack); errors.As(said, &peer) {
		return said
	}
	return err
}

// gone reports whether the other process has ended, when it cannot be heard or told anything. The kernel may not say which
// process it is, see sysutil.PeerPIDFile: then the end of the connection is its end.
func (h *handover) gone() bool { return h.pidfd < 0 || sysutil.Exited(h.pidfd, 2*deathTime) }

// seeOff waits for the end of the other process, which does not take over: until then it may be woken for who connects. If it
// could not be told that this one goes on, this process must not end before it has found out: it would take this one for dead.
func (h *handover) seeOff(told bool) {
	pidfd, doubts := h.pidfd, &h.w.succession.doubts // -1 is waited for, too, and never ends
	h.pidfd = -1
	if !told {
		doubts.Add(1)
	}
	go func() {
		if !told {
			sysutil.Exited(pidfd, 2*deathTime)
			doubts.Done()
		}
		if pidfd < 0 {
			return
		}
		if h.departure != nil && sysutil.Exited(pidfd, forever) {
			h.departure.PeerEnded()
		}
		sysutil.Close(pidfd)
	}()
}

// explain says what became of the sessions that had gone over before something went wrong. told: the other process knows
// that this one goes on.
func (h *handover) explain(err error, told bool) error {
	switch {
	case h.moved == 0:
		return err
	case !told && h.gone():
		return fmt.Errorf("%w; %s had gone over, and ended with the new process", err, plural(h.moved, "session"))
	}
	return fmt.Errorf("%w; %s had gone over, and the new process, pid %d, has them until they end", err, plural(h.moved, "session"),
		h.peer.PID)
}

// listProblems lets an error list what the other process has said of the configuration that it has read.
func listProblems(err error) error {
	peer, problems := (*handoff.PeerError)(nil), configs.Problems(nil)
	if errors.As(err, &peer) && json.Unmarshal(peer.Problems, &problems) == nil && len(problems) > 0 {
		return withProblems{err, problems}
	}
	return err
}
