package l4

import (
	"syscall"
	"time"

	"sluice/sysutil"
)

const (
	// A turn is how many bytes one direction moves before others get theirs.
	// A short one keeps small messages on the same loop quick, a long one
	// moves more bytes per CPU second. Streams among themselves take long
	// turns; they share with small messages for quietTime after the last one.
	sharedTurn = 512 << 10
	aloneTurn  = 1 << 20
	quietTime  = 5 * time.Millisecond
	// streamRead is the size from which a read counts as part of a stream.
	streamRead = 32 << 10
	// spliceAfter such reads in a row switch a direction to splice;
	// streakLimit - spliceAfter + 1 smaller ones switch it back.
	spliceAfter = 2
	streakLimit = 5
)

// relay gives both directions of s a turn, and ends s when both are done or
// one of the connections is broken.
func (l *loop) relay(s *session) state {
	first := client
	if s.ends[server].ready&failed != 0 {
		first = server // what a failed backend still sent goes before its error
	}
	more, next := l.pump(s, first)
	if next == stateClosed {
		return stateClosed
	}
	again, next := l.pump(s, first.other())
	if next == stateClosed {
		return stateClosed
	}
	if more || again {
		l.enqueue(s)
		return stateRelaying
	}
	return l.checkFailed(s)
}

// checkFailed ends s when a connection is broken and the reads and writes of
// this turn did not come across it: a reset is news even while the data
// before it cannot be passed on.
func (l *loop) checkFailed(s *session) state {
	for _, side := range [...]side{client, server} {
		if s.ends[side].ready&failed == 0 {
			continue
		}
		if errno := sysutil.SocketError(int(s.ends[side].fd)); errno != 0 {
			if l.broken(s, side, errno) == stateClosed {
				return stateClosed
			}
		}
	}
	return stateRelaying
}

// pump gives the direction that starts at from one turn. more: it stopped
// because its budget is used up.
func (l *loop) pump(s *session, from side) (more bool, next state) {
	h, dst := &s.halves[from], &s.ends[from.other()]
	if h.done {
		return false, stateRelaying
	}
	more, culprit, errno := l.carry(s, from)
	if errno != 0 {
		if culprit == dst {
			from = from.other()
			l.salvage(s, from)
		}
		return false, l.broken(s, from, errno)
	}
	if h.eof && !h.unsent() {
		return false, l.passFIN(s, from)
	}
	return more, stateRelaying
}

// streams reports whether a direction of s carries bulk: it waits for the small
// messages of the same batch of events.
func (s *session) streams() bool {
	return s.halves[client].streak >= spliceAfter || s.halves[server].streak >= spliceAfter
}

// carry moves bytes from one side to the other for one turn, and counts them.
func (l *loop) carry(s *session, from side) (more bool, culprit *end, errno syscall.Errno) {
	h, src, dst := &s.halves[from], &s.ends[from], &s.ends[from.other()]
	before := h.bytes
	l.heed(s, from, dst)
	more, culprit, errno = l.move(h, src, dst, l.turn(), l.watcher(s, from))
	l.ignore(s, from, dst)
	l.awaitRoom(s, from.other())
	if moved := h.bytes - before; moved != 0 {
		l.noteMoved(s, from)
		l.streamed += moved
		if h.streak == 0 {
			l.small = l.now
		}
		l.count(s, from, moved)
	}
	return more, culprit, errno
}

// count adds bytes that were passed on to the backend's counters.
func (l *loop) count(s *session, from side, moved uint64) {
	if from == client {
		s.backend.AddTraffic(l.index, 0, moved)
	} else {
		s.backend.AddTraffic(l.index, moved, 0)
	}
}

// ignore turns off the events for data that arrives at a stream's source while
// the sink is full: each would wake the loop for nothing. A full sink takes
// about a megabyte before it says that it is writable again (sk_stream_wspace),
// so the two epoll_ctl cost less than one of the wake-ups they save.
func (l *loop) ignore(s *session, from side, dst *end) {
	src := &s.ends[from]
	if dst.ready&writable == 0 && src.ready&ignored == 0 && s.halves[from].streak >= spliceAfter &&
		l.poller.IgnoreInput(int(src.fd), uint64(s.token(from))) == 0 {
		src.ready = src.ready&^writableUnwatched | ignored
	}
}

// awaitRoom asks to be told when a sink that has taken less than it was given becomes
// writable, where that has not been asked yet. Most sessions end without.
func (l *loop) awaitRoom(s *session, to side) {
	dst := &s.ends[to]
	if dst.ready&(writable|writableUnwatched) == writableUnwatched && l.poller.Heed(int(dst.fd), uint64(s.token(to))) == 0 {
		dst.ready &^= writableUnwatched
	}
}

// heed turns the events on again when the sink is writable. Whether data has
// come meanwhile, the next read tells.
func (l *loop) heed(s *session, from side, dst *end) {
	src := &s.ends[from]
	if dst.ready&writable != 0 && src.ready&ignored != 0 &&
		l.poller.Heed(int(src.fd), uint64(s.token(from))) == 0 {
		src.ready = src.ready&^ignored | readable
		if src.ready&peerClosed != 0 {
			src.ready |= shortReadsLie // urgent data may have come unseen: only a read that returns 0 is the end
		}
	}
}

// salvage passes on what a side had sent before a write found its connection
// broken. A server that answers early and resets under the rest of the request
// has said why.
func (l *loop) salvage(s *session, from side) {
	if !s.halves[from].done {
		s.ends[from].ready |= readable
		l.carry(s, from)
	}
}

// turn is the budget of a turn taken now.
func (l *loop) turn() uint64 {
	if l.now-l.small > quietTime {
		return aloneTurn
	}
	return sharedTurn
}

// passFIN tells the sink that the source is done, after the last byte. The
// other direction goes on until it is done as well.
func (l *loop) passFIN(s *session, from side) state {
	s.halves[from].done = true
	if back := &s.halves[from.other()]; back.done && !s.awaits(from.other()) {
		reason := closedBy(from.other())
		if !back.eof || s.cut.Clean() {
			reason = closedBy(from) // the other one was given up, see broken
		}
		return l.end(s, reason, 0) // close(2) sends the FIN that is still due
	}
	// ENOTCONN: reset meanwhile, which the event on its way will tell.
	sysutil.CloseWrite(int(s.ends[from.other()].fd))
	s.active, s.untimed = l.now, true
	l.lookSoon(s)
	return stateRelaying
}

// move carries bytes from src to dst until one of them would block, the source
// is at its end, or the turn is over (more). With an errno, culprit is the
// end that failed.
//
// Invariant: bytes are read only when nothing is unsent and dst is believed
// writable, so at most one read's worth is ever held back, and a sink that
// does not take it stops the source through TCP's own window.
//
// watch sees the bytes before they go on, so they are copied; nil = nobody does.
func (l *loop) move(h *half, src, dst *end, turn uint64, watch func([]byte)) (more bool, culprit *end, errno syscall.Errno) {
	for start := h.bytes; h.bytes-start < turn; {
		switch {
		case dst.ready&writable == 0:
			return false, nil, 0
		case h.unsent():
			if errno := l.flush(h, dst); errno != 0 {
				return false, dst, errno
			}
		case h.eof || src.ready&readable == 0:
			return false, nil, 0
		case h.streak >= spliceAfter && !h.noSplice && watch == nil && l.fill(h, src, int(turn), &errno):
			if errno != 0 {
				return false, src, errno
			}
		default:
			n, errno := receive(h, src, l.scratch)
			if errno != 0 {
				return false, src, errno
			}
			h.note(n)
			if watch != nil {
				watch(l.scratch[:n])
			}
			if errno := l.deliver(h, dst, l.scratch[:n]); errno != 0 {
				return false, dst, errno
			}
		}
	}
	return true, nil, 0
}

// note keeps count of reads in a row that look like a stream.
func (h *half) note(n int) {
	if n >= streamRead {
		h.streak = min(h.streak+1, streakLimit)
	} else if h.streak > 0 {
		h.streak--
	}
}

// flush sends what was read before.
func (l *loop) flush(h *half, dst *end) syscall.Errno {
	if h.pipe != nil {
		return l.drain(h, dst)
	}
	n, errno := send(dst, h.held)
	h.bytes += uint64(n)
	if n == len(h.held) {
		l.buffers.put(h.held)
		h.held = nil
	} else {
		h.held = h.held[:copy(h.held, h.held[n:])]
	}
	return errno
}
