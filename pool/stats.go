package pool

import (
	"sluice/pool/words"
	"sync/atomic"
)

// DialResult is how a connection attempt to a backend ended.
type DialResult uint8

const (
	// DialOK is an established connection.
	DialOK DialResult = iota
	// DialRefused is an answer that nobody listens there.
	DialRefused
	// DialTimeout is no answer in time.
	DialTimeout
	// DialError is any other failure, such as an unreachable network.
	DialError

	numDialResults
)

var dialResultWords = words.Table[DialResult]{
	Type: "DialResult", Words: []string{DialOK: "ok", DialRefused: "refused", DialTimeout: "timeout", DialError: "error"},
}

// String returns the result's word: "ok", "refused", "timeout" or "error".
func (r DialResult) String() string { return dialResultWords.Of(r) }

// DialFailures returns every result but DialOK: the reasons that BackendStats.ConnectFailures counts.
func DialFailures() []DialResult { return []DialResult{DialRefused, DialTimeout, DialError} }

// BackendStats is a copy of what a backend is and did. The states and Active are of one moment; the counters, which
// only ever grow, are read right after.
type BackendStats struct {
	Pool    string
	Name    string
	Address Address
	Host    string // the name that stands for the IP of Address; "" = it was configured
	Backup  bool

	State    AdminState
	Up       bool // by active checks, and its address is known
	Ejected  bool // by passive evidence
	Usable   bool // could be given sessions: ready, up, not ejected, weight > 0
	Weight   int
	Share    int // percent of the weight that counts: 100, or less during slow start
	MaxConns int // 0 = no limit
	Active   int // connections now, dials in flight included

	Changes uint64 // how often State, Up or Ejected changed

	Connects        uint64                 // dials that succeeded
	ConnectFailures [numDialResults]uint64 // dials that failed, by DialResult; see DialFailures
	Obstacles       [numObstacles]uint64   // dials that could not be made, by Obstacle; see Obstacles
	Received, Sent  uint64                 // bytes from and to the backend
}

// Stats returns a copy of the backend's states and counters.
func (b *Backend) Stats() BackendStats {
	s := b.state()
	for _, r := range DialFailures() {
		s.ConnectFailures[r] = b.dials[r].Load()
	}
	for _, o := range Obstacles() {
		s.Obstacles[o] = b.obstacles[o].Load()
	}
	s.Connects = b.dials[DialOK].Load()
	for i := range b.traffic {
		s.Received += b.traffic[i].received.Load()
		s.Sent += b.traffic[i].sent.Load()
	}
	return s
}

// state returns the part of the statistics that the pool's mutex guards, and the names.
func (b *Backend) state() BackendStats {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	b.pool.ramp()
	return BackendStats{
		Pool: b.pool.name, Name: b.name, Address: *b.address.Load(), Host: b.host, Backup: b.backup,
		State: b.admin, Up: b.up && b.lost == "", Ejected: b.ejected, Usable: b.usable(),
		Weight: b.weight, Share: b.share, MaxConns: b.maxConns, Active: b.active, Changes: b.changes,
	}
}

// Dialed counts a finished connection attempt.
func (b *Backend) Dialed(r DialResult) { b.dials[r].Add(1) }

// AddTraffic counts bytes received from and sent to the backend. The shard is the number of the calling event loop,
// from 0 to Config.Shards-1: each loop writes to memory of its own, so that counting each message costs no other CPU
// anything.
func (b *Backend) AddTraffic(shard int, received, sent uint64) {
	t := &b.traffic[shard]
	if received != 0 {
		t.received.Store(t.received.Load() + received)
	}
	if sent != 0 {
		t.sent.Store(t.sent.Load() + sent)
	}
}

// traffic is one event loop's byte counters of one backend, a cache line long. It has one writer, so that a load and
// a store add up exactly; any goroutine may read.
type traffic struct {
	received, sent atomic.Uint64
	_              [48]byte
}
