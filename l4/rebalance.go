package l4

import (
	"cmp"
	"context"
	"slices"
	"time"

	"sluice/pool"
	"sluice/sysutil"
)

// Who evens out the sessions of a pool closes those on which nothing goes on: nothing has
// moved for a while, nothing is on its way, neither peer has finished, and a session of
// Postgres is between transactions. That can be seen only of one in clear whose pool says
// NoteReady.

// An idler is a session that could be closed, and for how long nothing has moved on it.
type idler struct {
	ref  SessionRef
	idle time.Duration
}

// LongestIdle returns at most n sessions of a backend that could be closed now, those first
// on which nothing has moved for longest, and at least for so long. It keeps no loop from its
// sessions, and must not be called on one.
func (srv *Server) LongestIdle(ctx context.Context, b *pool.Backend, idle time.Duration, n int) ([]SessionRef, error) {
	var found []idler
	for _, l := range srv.loops {
		for round, over := srv.walk(l, 0), false; !over; {
			var chunk []idler
			var err error
			over, err = round.step(ctx, func(s *session) bool {
				if l.isIdle(s, b, idle) {
					chunk = append(chunk, idler{SessionRef{s.id, s.slot + 1}, l.now - s.active})
				}
				return true
			})
			if err != nil {
				return nil, err
			}
			found = longest(append(found, chunk...), n)
		}
	}
	refs := make([]SessionRef, len(found))
	for i, f := range found {
		refs[i] = f.ref
	}
	return refs, nil
}

// longest returns the n that have been idle for longest, in order.
func longest(all []idler, n int) []idler {
	slices.SortFunc(all, func(a, b idler) int { return cmp.Compare(b.idle, a.idle) })
	return all[:min(n, len(all))]
}

// EndIdle ends a session of a backend with reason rebalanced if it could still be closed, as
// for LongestIdle, and reports whether it has. It must not be called on a loop.
func (srv *Server) EndIdle(ref SessionRef, b *pool.Backend, idle time.Duration) bool {
	l, ended := srv.loopOf(ref), false
	_, err := srv.walk(l, max(0, ref.slot-1)).step(context.Background(), func(s *session) bool {
		if s.id == ref.ID && l.isIdle(s, b, idle) {
			ended = l.end(s, Rebalanced, 0) == stateClosed
		}
		return false
	})
	return err == nil && ended
}

// isIdle reports whether a session is one of a backend that nothing goes on on.
func (l *loop) isIdle(s *session, b *pool.Backend, idle time.Duration) bool {
	if s.backend != b || s.state != stateRelaying || s.cut != noReason || s.finSeen() || l.now-s.active < idle {
		return false
	}
	if s.traits().startup && (s.login == nil || !s.target.config.NoteReady || !s.login.Ready) {
		return false
	}
	l.noteTaken(s)
	return !s.owes() && l.now-s.active >= idle && !l.hasInput(s)
}

// hasInput reports whether a peer has sent something that has not been read: the event for it may
// be in the same batch.
func (l *loop) hasInput(s *session) bool {
	ready := sysutil.ReadyNow(s.ends[client].fd, s.ends[server].fd)
	return (ready[client]|ready[server])&(sysutil.Readable|sysutil.PeerClosed|sysutil.HungUp|sysutil.Failed) != 0
}
