package l4

import (
	"sync/atomic"
	"time"
)

// A quota bounds how many sessions are open, over all loops. A place is taken before
// a connection is accepted, so that one for which there is none stays in the kernel's
// backlog.
type quota struct {
	name  string       // of the limit, for the log
	limit atomic.Int64 // 0 = no limit
	taken atomic.Int64 // counted without a limit, too: there may be one later
	// elsewhere is how many of them sessions have that another process hands over, and that have not come yet.
	elsewhere atomic.Int64
	told      atomic.Bool // that the limit is near, since it last was not
	near      warning
	full      warning
}

// The operator is told that a limit is near when nearPercent of the places are taken,
// and again when there were fewer than farPercent since.
const (
	nearPercent = 80
	farPercent  = 70
)

// take takes a place, if there is one.
func (q *quota) take() bool {
	limit := q.limit.Load()
	if limit == 0 {
		q.force()
		return true
	}
	for n := q.taken.Load(); n < limit; n = q.taken.Load() {
		if q.taken.CompareAndSwap(n, n+1) {
			return true
		}
	}
	return false
}

// force takes a place whether there is one or not.
func (q *quota) force() { q.taken.Add(1) }

// give gives a place back.
func (q *quota) give() {
	if left := q.taken.Add(-1); left*100 < q.limit.Load()*farPercent && q.told.Load() {
		q.told.Store(false)
	}
}

// expect says how many places are taken elsewhere, and reports whether they are fewer than before.
func (q *quota) expect(n int) bool {
	before := q.elsewhere.Swap(int64(n))
	q.taken.Add(int64(n) - before)
	return int64(n) < before
}

// isFull reports whether no place is left.
func (q *quota) isFull() bool {
	limit := q.limit.Load()
	return limit != 0 && q.taken.Load() >= limit
}

// isNear is true once when the limit has come near, and not for every time that it
// does so while sessions come and go around it.
func (q *quota) isNear(now time.Duration) bool {
	limit := q.limit.Load()
	return limit != 0 && q.taken.Load()*100 >= limit*nearPercent && q.told.CompareAndSwap(false, true) && q.near.due(now)
}

// reservePlace takes a place for one more session, of the process and of the
// listener. When there is none the socket rests: connections wait in the kernel's
// backlog until a session ends.
func (l *loop) reservePlace(k *socket) bool {
	all, own := &l.server.places, &k.listener.places
	if !all.take() {
		l.restFull(k, all)
		return false
	}
	if !own.take() {
		all.give()
		l.restFull(k, own)
		return false
	}
	return true
}

// returnPlace gives back what reservePlace has taken.
func (srv *Server) returnPlace(ls *listener) {
	ls.places.give()
	srv.places.give()
}

func (l *loop) restFull(k *socket, q *quota) {
	l.pause(k)
	if q.full.due(l.now) {
		l.warnLimit("listener rests at the limit of sessions: the kernel's backlog holds new connections", k.listener, q)
	}
}

// warnNear tells the operator of limits that are near since the last connection.
func (l *loop) warnNear(ls *listener) {
	for _, q := range [...]*quota{&l.server.places, &ls.places} {
		if q.isNear(l.now) {
			l.warnLimit("sessions are near the limit", ls, q)
		}
	}
}

func (l *loop) warnLimit(text string, ls *listener, q *quota) {
	l.log.Warn(text, "listener", ls.name, "limit_of", q.name, "sessions", q.taken.Load(), "limit", q.limit.Load())
}
