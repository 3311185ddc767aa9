package l4

import (
	"bytes"
	"slices"
	"testing"
)

// Two servers may give the same key. The one that gave it last is asked, as long as
// that session lasts; the end of the other one does not make it unknown.
func TestCancelSameKeyTwice(t *testing.T) {
	r, listeners := cancelRig(t, rigConfig{}, 2)
	key := cancelKey(1, 4)
	ask := func(want int) {
		t.Helper()
		c := r.dial()
		r.write(c, cancelRequest(key))
		r.expectCancel(listeners[want], cancelRequest(key)).Close()
		r.expectFIN(c)
		r.expectEnd(ServerClosed)
		r.expectNobody(listeners[1-want])
	}
	first, second := r.loginAt(listeners, 0, key), r.loginAt(listeners, 1, key)
	ask(1)
	r.leave(first)
	ask(1)
	third := r.loginAt(listeners, 0, key)
	ask(0)
	r.leave(second)
	ask(0)
	r.leave(third)
	if n := len(r.srv.cancelKeys.owners); n != 0 {
		t.Errorf("%d keys are remembered", n)
	}
}

// The key is known before the client has it, also when it comes in pieces, and is
// forgotten however the session ends.
func TestCancelKeyInPieces(t *testing.T) {
	r, listeners := cancelRig(t, rigConfig{}, 2)
	key := cancelKey(1, 32)
	answer := loginAnswer(key)
	ends := [2]conn{client: r.dial()}
	r.write(ends[client], startup)
	ends[server] = r.acceptFrom(listeners[0])
	r.expect(ends[server], startup)
	for i := range answer {
		r.write(ends[server], answer[i:i+1])
		r.expect(ends[client], answer[i:i+1])
	}
	c := r.dial()
	r.write(c, cancelRequest(key))
	r.expectCancel(listeners[0], cancelRequest(key)).Close()
	r.expectFIN(c)
	r.expectNobody(listeners[1])
	r.expectEnd(ServerClosed)
	if h := r.loop.sessions.at(0); h.login == nil || !h.login.Done {
		t.Error("the login is still looked at")
	}
	r.streamBothWays(ends, 1<<20)
	r.pool.Backends()[0].SetUp(false)
	r.endSessions(r.pool.Backends()[0], 0, 1)
	r.expectEnd(BackendDown)
	if n := len(r.srv.cancelKeys.owners); n != 0 {
		t.Errorf("%d keys are remembered", n)
	}
}

// Nothing is looked for in what is encrypted.
func TestNoKeyFromTLS(t *testing.T) {
	r := newPostgresRig(t, rigConfig{})
	ends := [2]conn{client: r.dial()}
	r.write(ends[client], sslRequest)
	ends[server] = r.accept()
	r.expect(ends[server], sslRequest)
	r.write(ends[server], []byte("S"))
	r.expect(ends[client], []byte("S"))
	r.write(ends[server], loginAnswer(cancelKey(1, 4)))
	r.expect(ends[client], loginAnswer(cancelKey(1, 4)))
	if n := len(r.srv.cancelKeys.owners); n != 0 {
		t.Errorf("%d keys are remembered of a session that is encrypted", n)
	}
}

// A client that reads its answer slowly, or the other end of a login that does not
// stop, is held back like any other.
func TestLoginBackpressure(t *testing.T) {
	r := newPostgresRig(t, rigConfig{})
	ends := [2]conn{client: r.dial()}
	r.write(ends[client], startup)
	ends[server] = r.accept()
	r.expect(ends[server], startup)
	r.smallBuffers(ends)
	answer := slices.Concat(authenticationOK, bytes.Repeat(backendMessage('S', random(1, 1000<<10)), 4), loginAnswer(cancelKey(1, 4)))
	sent := trySend(ends[server], answer)
	r.until("bytes are held back", func() bool {
		sent += trySend(ends[server], answer[sent:])
		return r.newest().halves[server].unsent()
	})
	r.heldBack(&r.newest().halves[server])
	r.both(
		func() error { return writeAll(ends[server], answer[sent:]) },
		func() error { return readAll(ends[client], answer) },
	)
	r.streamBothWays(ends, 1<<20)
	if n := len(r.srv.cancelKeys.owners); n != 1 {
		t.Errorf("%d keys are remembered, want one", n)
	}
	b := r.pool.Backends()[0].Stats()
	if want := uint64(len(answer) + 1<<20); b.Received != want || r.newest().halves[server].bytes != want {
		t.Errorf("%d bytes counted, %d passed on, want %d", b.Received, r.newest().halves[server].bytes, want)
	}
	r.leave(ends)
}
