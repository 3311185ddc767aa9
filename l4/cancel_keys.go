package l4

import (
	"sync"

	"sluice/l4/pgwire"
	"sluice/pool"
)

// cancelKeys remembers which backend owns the session that a CancelRequest is
// for: the key is what the server sent as BackendKeyData. Loops share it; it is
// touched twice per session that logs in in clear.
type cancelKeys struct {
	mu     sync.Mutex
	owners map[string]keyOwner
}

type keyOwner struct {
	session uint64
	backend *pool.Backend
}

func (k *cancelKeys) add(key []byte, session uint64, backend *pool.Backend) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.owners == nil {
		k.owners = make(map[string]keyOwner)
	}
	k.owners[string(key)] = keyOwner{session, backend}
}

// remove forgets a key, unless another session has got the same one since.
func (k *cancelKeys) remove(key []byte, session uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.owners[string(key)].session == session {
		delete(k.owners, string(key))
	}
}

// owner returns the backend whose session has the key; nil = it is not known.
func (k *cancelKeys) owner(key []byte) *pool.Backend {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.owners[string(key)].backend
}

// watcher returns what looks at the bytes that one side sends, on their way; nil =
// nothing does. While a client logs in to Postgres in clear, its server's do; afterwards
// both sides' do where it is to be known whether the session is between transactions.
func (l *loop) watcher(s *session, from side) func(data []byte) {
	switch {
	case s.login == nil:
		return nil
	case !s.login.Done:
		if from == server {
			return func(data []byte) { l.noteKey(s, data) }
		}
	case s.target.config.NoteReady:
		return s.noteReady(from)
	}
	return nil
}

// noteReady notes whether the server of s has said that it is ready and in no transaction,
// and the client nothing since. Of a stream, which is not copied, nothing is known.
func (s *session) noteReady(from side) func(data []byte) {
	if s.halves[from].streak >= spliceAfter {
		s.login.Ready = false
		return nil
	}
	return func(data []byte) {
		if len(data) > 0 {
			s.login.Ready = from == server && pgwire.EndsReady(data)
		}
	}
}

// noteKey looks for the key by which a client may cancel what s does. It is
// known before the client has it, so no cancel request comes too early.
func (l *loop) noteKey(s *session, data []byte) {
	if s.login.Done {
		return
	}
	if s.login.Scan(data); s.login.Done && len(s.login.Key) > 0 {
		l.server.cancelKeys.add(s.login.Key, s.id, s.backend)
	}
	s.login.Ready = pgwire.EndsReady(data)
}
