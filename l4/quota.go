package l4

import (
	"log/slog"
	"sync/atomic"
)

// A quota bounds how many sessions are open, over all loops. A place is taken before
// a connection is accepted, so that one for which there is none stays in the kernel's
// backlog.
type quota struct {
	limit int64 // 0 = no limit; does not change
	taken atomic.Int64
}

// warnPercent of a limit is when the operator is told that it is near.
const warnPercent = 80

// take takes a place, if there is one. near: it is the one at which the limit is
// near.
func (q *quota) take() (ok, near bool) {
	if q.limit == 0 {
		return true, false
	}
	n := q.taken.Add(1)
	if n > q.limit {
		q.taken.Add(-1)
		return false, false
	}
	return true, n == max(1, (q.limit*warnPercent+99)/100)
}

// give gives a place back.
func (q *quota) give() {
	if q.limit != 0 {
		q.taken.Add(-1)
	}
}

// full reports whether no place is left.
func (q *quota) full() bool { return q.limit != 0 && q.taken.Load() >= q.limit }

// reservePlace takes a place for one more session, of the process and of the
// listener. When there is none the socket rests: connections wait in the kernel's
// backlog until a session ends.
func (l *loop) reservePlace(k *socket) bool {
	all, ls := &l.server.places, k.listener
	ok, near := all.take()
	if !ok {
		l.restFull(k, all, "all listeners together")
		return false
	}
	if near && ls.near.due(l.now) {
		l.warnLimit("sessions are near the limit of all listeners together", ls, all)
	}
	if ok, near = ls.places.take(); !ok {
		all.give()
		l.restFull(k, &ls.places, "max_sessions")
		return false
	}
	if near && ls.near.due(l.now) {
		l.warnLimit("sessions are near max_sessions", ls, &ls.places)
	}
	return true
}

// returnPlace gives back what reservePlace has taken.
func (srv *Server) returnPlace(ls *listener) {
	ls.places.give()
	srv.places.give()
}

func (l *loop) restFull(k *socket, q *quota, limit string) {
	l.pause(k)
	if k.listener.full.due(l.now) {
		l.warnLimit("listener rests at the limit of sessions: the kernel's backlog holds new connections", k.listener, q,
			slog.String("of", limit))
	}
}

func (l *loop) warnLimit(text string, ls *listener, q *quota, more ...any) {
	l.log.Warn(text, append([]any{"listener", ls.config.Name, "sessions", q.taken.Load(), "limit", q.limit}, more...)...)
}
