package l4

import (
	"cmp"
	"slices"
	"syscall"
	"time"

	"sluice/pool"
)

// A connect that something on this side is in the way of says nothing against the backend:
// neither the pool's failures nor an ejection nor the session's retries count it. The
// session asks another backend, where that can help, and else waits a moment, with its
// slot, and tries again, as long as its connects may take.

const (
	// obstaclePause is the first such moment. Each further one is twice as long, up to the
	// longest.
	obstaclePause   = tick
	longestPause    = 8 * tick
	obstacleTimeout = 2 * time.Minute // where nothing else bounds the connects; the kernel's own limit for one
)

// An obstacle is what a session has met on its way to a backend.
type obstacle struct {
	errno  syscall.Errno
	again  time.Duration // when to try again
	pause  time.Duration // how long the last one was put off; 0 = none was
	passed []*pool.Backend
}

// obstructed deals with a connect to the backend of s that an obstacle was in the way of.
func (l *loop) obstructed(s *session, kind pool.Obstacle, errno syscall.Errno) state {
	s.backend.Obstructed(kind)
	opening, config := l.open(s), &s.target.config
	opening.connectBy = cmp.Or(opening.connectBy, after(s.active, config.ConnectTimeout), after(s.active, obstacleTimeout))
	if opening.obstacle == nil {
		opening.obstacle = new(obstacle)
	}
	o := opening.obstacle
	o.errno = errno
	l.warnObstacle(s, kind)
	if kind == pool.NoResources {
		l.restAll(errno) // another backend would fail the same way, and further sessions too
		l.shortBy = l.now + longestPause + 2*tick
	} else {
		o.passed = append(o.passed, s.backend)
		opening.waiter.Tried = append(opening.waiter.Tried, s.backend)
		if other, err := config.Pool.Reserve(s.client.Addr(), opening.waiter.Tried); err == nil {
			s.backend.Release()
			return l.connect(s, other)
		}
		opening.forgivePassed()
	}
	o.pause = min(max(2*o.pause, obstaclePause), longestPause)
	o.again, s.untimed = l.now+o.pause, true
	return statePaused
}

// warnObstacle tells the operator what is in the way, and what helps. What the whole process
// lacks is told by restAll.
func (l *loop) warnObstacle(s *session, kind pool.Obstacle) {
	target, of := s.dialTarget(), []any{"pool", s.backend.Pool().Name(), "backend", s.backend.Name(), "address", s.backend.Address()}
	switch {
	case kind == pool.NoPort && target.portless.due(l.now):
		l.log.Warn("no source port is left for connections to a backend: sessions wait; "+
			"give the pool more addresses with source, or widen net.ipv4.ip_local_port_range", of...)
	case kind == pool.BacklogFull && target.crowded.due(l.now):
		l.log.Warn("the backlog of a backend is full: sessions wait; let it accept faster, or listen with a longer one "+
			"(net.core.somaxconn)", of...)
	}
}

// forgivePassed lets s try the backends again that it has passed by because of an obstacle.
func (o *opening) forgivePassed() {
	if o.obstacle == nil {
		return
	}
	o.waiter.Tried = slices.DeleteFunc(o.waiter.Tried, func(b *pool.Backend) bool {
		return slices.Contains(o.obstacle.passed, b)
	})
	o.obstacle.passed = o.obstacle.passed[:0]
}

// tryAgain is called when a session that was paused has waited a moment.
func (l *loop) tryAgain(s *session) state {
	if l.now >= s.connectBy() {
		return l.obstacleStays(s)
	}
	return l.connect(s, s.backend)
}

// obstacleStays is called when the connects of s have had all their time. The session waits
// in the queue, if there is one, and ends else.
func (l *loop) obstacleStays(s *session) state {
	opening := s.opening
	opening.reason, opening.errno = ConnectFailed, opening.obstacle.errno
	opening.obstacle.pause = 0
	if s.target.config.Pool.QueueMax() == 0 {
		scarce := pool.ObstacleOf(opening.errno) == pool.NoResources
		next := l.end(s, ConnectFailed, opening.errno)
		if scarce {
			l.freed = false // what it gave back is not enough for another one
		}
		return next
	}
	opening.last, opening.barred = s.backend, true
	s.backend.Release()
	s.backend = nil
	return l.waitForRetry(s)
}
