package l4

import "context"

// A SessionRef names a session. The ID alone will do, as an operator has it from a list or a
// log; one by Ref is found without a search.
type SessionRef struct {
	ID   uint64
	slot int32 // 1 more than the session's; 0 = not known
}

// Ref returns what a session that was listed is named by.
func (s *SessionStats) Ref() SessionRef { return SessionRef{s.ID, s.slot + 1} }

// loopOf returns the loop that a session is on: see nextID.
func (srv *Server) loopOf(ref SessionRef) *loop { return srv.loops[ref.ID%uint64(len(srv.loops))] }

// Kill ends a session with reason killed, and reports whether it was there. One in which a
// peer has finished ends when what that peer said is delivered. It waits for a loop, so it
// must not be called on one.
func (srv *Server) Kill(ref SessionRef) bool {
	l := srv.loopOf(ref)
	found := false
	for search := srv.walk(l, max(0, ref.slot-1)); ; {
		over, err := search.step(context.Background(), func(s *session) bool {
			if s.id != ref.ID {
				return ref.slot == 0
			}
			found = true
			if s.cut == noReason {
				l.cutOff(s, Killed)
			}
			return false
		})
		if err != nil {
			return false
		}
		if found || over || ref.slot != 0 {
			return found
		}
	}
}
