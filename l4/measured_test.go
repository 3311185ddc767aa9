package l4

import (
	"slices"
	"testing"
	"time"

	"sluice/l4/tlshello/hellotest"
	"sluice/pool"
)

// Each wait in the queue is told when it is over, not when the session is.
func TestOnWait(t *testing.T) {
	r := newRig(t, rigConfig{maxConns: 1, queueMax: 2, queueTimeout: time.Minute})
	var waits []time.Duration
	r.srv.config.OnWait = func(p *pool.Pool, took time.Duration) {
		if p != r.pool {
			t.Errorf("told of pool %s", p.Name())
		}
		waits = append(waits, took)
	}
	ends := r.pair()
	r.dial()
	r.expectWaiting(1)
	gone := r.dial()
	r.expectWaiting(2)
	r.now += 3 * time.Second
	gone.Close()
	r.expectEnd(ClientClosed)
	r.now += 4 * time.Second
	ends[client].Close()
	ends[server].Close()
	r.expectEnd(ClientClosed)
	r.accept()
	if want := []time.Duration{3 * time.Second, 7 * time.Second}; !slices.Equal(waits, want) {
		t.Errorf("waits of %v, want %v", waits, want)
	}
}

// How long a server takes for its first byte is told where there is a first packet to count from.
func TestOnAnswer(t *testing.T) {
	f := func(config rigConfig, packet, answer []byte, want ...time.Duration) {
		t.Helper()
		r := newRig(t, config)
		var answers []time.Duration
		r.srv.config.OnAnswer = func(b *pool.Backend, took time.Duration) {
			if b != r.pool.Backends()[0] {
				t.Errorf("told of backend %s", b.Name())
			}
			answers = append(answers, took)
		}
		c := r.dial()
		r.write(c, packet)
		s := r.accept()
		r.expect(s, packet)
		r.settle()
		r.now += 2 * time.Second
		r.write(s, answer)
		r.expect(c, answer)
		r.write(s, []byte("more"))
		r.expect(c, []byte("more"))
		if !slices.Equal(answers, want) {
			t.Errorf("%v: answers after %v, want %v", config.protocol, answers, want)
		}
	}
	f(rigConfig{}, []byte("request"), []byte("answer"))
	f(rigConfig{protocol: ProtocolPostgres}, startup, askPassword, 2*time.Second)
	f(rigConfig{protocol: ProtocolTLS}, hellotest.OfSize(t, 600), []byte("\x16\x03\x03"), 2*time.Second)
}

// Retries are counted as they happen, for the pool of the listener.
func TestRetriesAreCounted(t *testing.T) {
	r := newRig(t, rigConfig{backends: []pool.Address{refusing(t), refusing(t), tcpAddress(listenTCP(t, "127.0.0.1:0").Addr())}, retries: 2})
	r.dial()
	r.until("it relays", func() bool { return r.newest() != nil && r.newest().state == stateRelaying })
	want := []RetryStats{{"test", r.pool.Name(), 2}}
	if got := r.srv.Stats().Retries; !slices.Equal(got, want) {
		t.Errorf("retries %+v, want %+v", got, want)
	}
}
