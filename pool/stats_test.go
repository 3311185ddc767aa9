package pool

import (
	"sync"
	"testing"
	"unsafe"
)

func TestStats(t *testing.T) {
	p, err := New(Config{Name: "web", Shards: 2, Backends: []BackendConfig{
		{Name: "a", Address: testAddr(1), Weight: 3, MaxConns: 9, Backup: true, State: Drain},
	}})
	if err != nil {
		t.Fatal(err)
	}
	b := p.Backends()[0]
	want := BackendStats{
		Pool: "web", Name: "a", Address: testAddr(1), Backup: true, State: Drain, Up: true, Weight: 3, Share: 100,
		MaxConns: 9,
	}
	if got := b.Stats(); got != want {
		t.Errorf("new: %+v, want %+v", got, want)
	}

	b.SetAdmin(Ready)
	reserve(p)
	b.SetUp(false)
	b.SetEjected(true)
	for _, r := range []DialResult{DialOK, DialOK, DialRefused, DialTimeout, DialTimeout, DialError} {
		b.Dialed(r)
	}
	b.AddTraffic(0, 10, 1)
	b.AddTraffic(1, 200, 0)
	b.AddTraffic(1, 0, 30)
	want = BackendStats{
		Pool: "web", Name: "a", Address: testAddr(1), Backup: true, Up: false, Ejected: true, Weight: 3, Share: 100,
		MaxConns: 9, Changes: 3, Active: 1, Connects: 2, Received: 210, Sent: 31,
	}
	want.ConnectFailures[DialRefused], want.ConnectFailures[DialTimeout], want.ConnectFailures[DialError] = 1, 2, 1
	if got := b.Stats(); got != want {
		t.Errorf("used: %+v, want %+v", got, want)
	}
}

func TestTrafficFillsACacheLine(t *testing.T) {
	if size := unsafe.Sizeof(traffic{}); size != 64 {
		t.Errorf("a shard is %d bytes, want 64", size)
	}
}

func TestTrafficShardsAddUp(t *testing.T) {
	const shards, turns = 4, 5000
	p, err := New(Config{Name: "web", Shards: shards, Backends: weights(1)})
	if err != nil {
		t.Fatal(err)
	}
	b := p.Backends()[0]
	var loops sync.WaitGroup
	for shard := range shards {
		loops.Go(func() {
			for range turns {
				b.AddTraffic(shard, 2, 3)
				_ = b.Stats()
			}
		})
	}
	loops.Wait()
	if s := b.Stats(); s.Received != 2*shards*turns || s.Sent != 3*shards*turns {
		t.Errorf("received %d, sent %d, want %d and %d", s.Received, s.Sent, 2*shards*turns, 3*shards*turns)
	}
}

func BenchmarkAddTraffic(b *testing.B) {
	backend := newPool(b, LeastConn, weights(1)).Backends()[0]
	for b.Loop() {
		backend.AddTraffic(0, 64, 0)
	}
}
