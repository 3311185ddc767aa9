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

// Stats is what a pool is and how it stands, all of one moment.
type Stats struct {
	Name     string `json:"name"`
	Balance  string `json:"balance"`   // the policy's word
	Usable   int    `json:"usable"`    // backends that could be given sessions
	Waiting  int    `json:"waiting"`   // sessions in the queue
	QueueMax int    `json:"queue_max"` // sessions that may wait
}

// Stats returns a copy of the pool's states.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{Name: p.name, Balance: p.policy.String(), Usable: p.usable(), Waiting: p.queue.length, QueueMax: p.queueMax}
}

// BackendStats is a copy of what a backend is and did. The states and Active are of one moment; the counters, which
// only ever grow, are read right after.
type BackendStats struct {
	Pool    string  `json:"-"`
	Name    string  `json:"name"`
	Address Address `json:"address"`
	Backup  bool    `json:"backup"`

	State    AdminState `json:"state"`
	Up       bool       `json:"up"`                 // by active checks
	Ejected  bool       `json:"ejected"`            // by passive evidence
	Vanished bool       `json:"vanished,omitempty"` // as in BackendConfig
	Usable   bool       `json:"usable"`             // could be given sessions: ready, up, not ejected, not vanished, weight > 0
	Weight   int        `json:"weight"`
	Share    int        `json:"share_percent"` // of the weight that counts: 100, or less during slow start
	MaxConns int        `json:"max_conns"`     // 0 = no limit
	Active   int        `json:"active"`        // connections now, dials in flight included, and those of another process: see Backend.Expect

	Changes uint64 `json:"-"` // how often State, Up or Ejected changed

	Connects        uint64                 `json:"connects"`       // dials that succeeded
	ConnectFailures [numDialResults]uint64 `json:"-"`              // dials that failed, by DialResult; see DialFailures
	Obstacles       [numObstacles]uint64   `json:"-"`              // dials that could not be made, by Obstacle; see Obstacles
	Received        uint64                 `json:"received_bytes"` // from the backend
	Sent            uint64                 `json:"sent_bytes"`     // to the backend
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
	s.Received, s.Sent = b.carried.received.Load(), b.carried.sent.Load()
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
		Pool: b.pool.name, Name: b.name, Address: b.address, Backup: b.backup,
		State: b.admin, Up: b.up, Ejected: b.ejected, Vanished: b.config.Vanished, Usable: b.usable(),
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
