package l4

import (
	"strings"
	"testing"
)

// A socket that rests is not to rest once more: the count of those that do would never be zero again.
func TestRestsOnce(t *testing.T) {
	r := newRig(t, rigConfig{maxSessions: 1})
	for range 3 {
		r.dial()
	}
	r.loop.sockets[0].batch = 4 // as after a burst
	report := r.srv.config.OnEnd
	stolen := false
	r.srv.config.OnEnd = func(e End) {
		report(e)
		if !stolen { // another loop takes the place that came free
			stolen = true
			r.srv.places.take()
		}
	}
	restore := useUpDescriptors(t, 1) // the connect fails, which rests the socket
	r.untilPutOff()
	r.now += obstacleTimeout
	r.until("it has failed", func() bool { return len(r.ended) > 0 })
	restore()
	r.expectEnd(ConnectFailed)
	if own, all := r.loop.resting, r.srv.listeners()[0].resting.Load(); own > 1 || all > 1 {
		t.Errorf("%d sockets of the loop rest, %d of the listener; there is one", own, all)
	}
	r.srv.places.give()
	r.now += restTime
	r.leave([2]conn{r.dialled[1], r.accept()})
	r.leave([2]conn{r.dialled[2], r.accept()})
	r.now += restTime
	r.settle()
	if r.srv.Stats().Listeners[0].Resting {
		t.Error("the listener rests for ever")
	}
	if wait := r.loop.patience(); wait >= 0 {
		t.Errorf("an idle loop wakes up every %v", wait)
	}
}

// The warning is about sessions that are open, not about a place taken in vain.
func TestNearIsWarnedOfWhenItIsSo(t *testing.T) {
	r := newRig(t, rigConfig{maxSessions: 10})
	for range 7 {
		r.dial()
		r.accept()
	}
	r.loop.sockets[0].batch = 8
	r.loop.accept(&r.loop.sockets[0]) // nobody is there, as after another loop was quicker
	r.expectWarnings("near", 0)
}

// The operator is told of each limit: that of the listener is not kept from him because he has just
// heard of the server's.
func TestBothLimitsAreWarnedOf(t *testing.T) {
	r := newRig(t, rigConfig{maxSessions: 10, listener: func(l *ListenerConfig) { l.MaxSessions = 10 }})
	for range 9 {
		r.dial()
		r.accept()
	}
	r.expectWarnings("near the limit\" loop=0 listener=test limit_of=process", 1)
	r.expectWarnings("near the limit\" loop=0 listener=test limit_of=listener", 1)
}

// One client that comes and goes near a small limit does not fill the log.
func TestNearLimitFlood(t *testing.T) {
	r := newRig(t, rigConfig{listener: func(l *ListenerConfig) { l.MaxSessions = 2 }})
	stay := r.pair()
	for range 20 {
		ends := r.pair()
		reset(ends[client])
		r.expectEnd(ClientClosed)
		ends[server].Close()
	}
	if n := strings.Count(r.logs.String(), "sessions are near the limit"); n > 1 {
		t.Errorf("%d warnings within ten seconds", n)
	}
	stay[client].Close()
}
