package l4

import "syscall"

// noteKey looks for the key by which a client may cancel what s does. It is
// known before the client has it, so no cancel request comes too early.
func (l *loop) noteKey(s *session, data []byte) {
	if s.login.scan(data); s.login.done && len(s.login.key) > 0 {
		l.server.cancelKeys.add(s.login.key, s.id, s.backend)
	}
}

// moveLogin is move for what a server sends while its client logs in: a few
// messages that are looked at on their way.
func (l *loop) moveLogin(s *session) (more bool, culprit *end, errno syscall.Errno) {
	h, src, dst := &s.halves[server], &s.ends[server], &s.ends[client]
	for !s.login.done {
		switch {
		case dst.ready&writable == 0:
			return false, nil, 0
		case h.unsent():
			if errno := l.flush(h, dst); errno != 0 {
				return false, dst, errno
			}
		case h.eof || src.ready&readable == 0:
			return false, nil, 0
		default:
			n, errno := receive(h, src, l.scratch)
			if errno != 0 {
				return false, src, errno
			}
			l.noteKey(s, l.scratch[:n])
			if errno := l.deliver(h, dst, l.scratch[:n]); errno != 0 {
				return false, dst, errno
			}
		}
	}
	return true, nil, 0
}
