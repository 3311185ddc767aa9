package l4

// watcher returns what looks at the bytes that one side sends, on their way; nil =
// nothing does. While a client logs in to Postgres in clear, its server's do.
func (l *loop) watcher(s *session, from side) func(data []byte) {
	if from != server || s.login == nil || s.login.Done {
		return nil
	}
	return func(data []byte) { l.noteKey(s, data) }
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
}
