package l4

import (
	"net/netip"
	"syscall"
	"time"

	"sluice/l4/pgwire"
	"sluice/pool"
)

// A Record is a session on its way to another process: all there is to it but its one or two
// descriptors. It is written as JSON; HANDOVER.md has the version that each field came with.
//
// The clocks of two processes have nothing in common, so it has ages, and of what is still to
// come how long that is; 0 = it is not to come.
type Record struct {
	ID       uint64         `json:"id"`
	State    string         `json:"state"`
	Listener string         `json:"listener"`
	Terms    Terms          `json:"terms"`
	Pool     string         `json:"pool,omitempty"`    // "" = none is chosen
	Backend  *BackendRecord `json:"backend,omitempty"` // that it holds a slot of; nil = of none
	Client   netip.AddrPort `json:"client,omitzero"`
	Counted  bool           `json:"counted,omitempty"` // among its client's sessions
	Sealed   bool           `json:"sealed,omitempty"`
	Cut      Reason         `json:"cut,omitzero"`
	Attempt  uint8          `json:"attempt,omitempty"`
	Retries  uint8          `json:"retries,omitempty"`

	Age     time.Duration `json:"age"`  // since accept
	Idle    time.Duration `json:"idle"` // since a byte moved, or what else its time counts from
	Connect time.Duration `json:"connect,omitempty"`
	LookIn  time.Duration `json:"look_in,omitempty"` // to when its peers are to be looked at
	Waited  time.Duration `json:"waited,omitempty"`

	ClientEnd EndRecord          `json:"client_end"`
	ServerEnd *EndRecord         `json:"server_end,omitempty"` // nil = it has no connection to a backend, and only one descriptor
	ToServer  HalfRecord         `json:"to_server"`
	ToClient  HalfRecord         `json:"to_client"`
	Login     *pgwire.KeyScanner `json:"login,omitempty"`
	Names     *NamesRecord       `json:"names,omitempty"`
	Opening   *OpeningRecord     `json:"opening,omitempty"`
}

// Terms are the settings under which a session relays.
type Terms struct {
	Protocol        Protocol      `json:"protocol"`
	IdleTimeout     time.Duration `json:"idle_timeout,omitempty"`
	FinTimeout      time.Duration `json:"fin_timeout,omitempty"`
	ClientDeadPeer  time.Duration `json:"client_dead_peer,omitempty"`
	BackendDeadPeer time.Duration `json:"backend_dead_peer,omitempty"`
	MaxAge          time.Duration `json:"max_age,omitempty"`
	MaxAgeJitter    float64       `json:"max_age_jitter,omitempty"`
	MaxAgeIdleOnly  bool          `json:"max_age_idle_only,omitempty"`
	NoteReady       bool          `json:"note_ready,omitempty"`
	UniqueID        bool          `json:"unique_id,omitempty"` // the backend was told one
}

// termsOf returns the terms of sessions that have some rules and go to a target; nil = none is
// chosen.
func termsOf(r *rules, t *target) Terms {
	c := &r.config
	terms := Terms{Protocol: c.Protocol, IdleTimeout: c.IdleTimeout, FinTimeout: c.FinTimeout, ClientDeadPeer: c.DeadPeer}
	if t != nil {
		age := t.config.MaxAge
		terms.BackendDeadPeer, terms.NoteReady, terms.UniqueID = t.config.DeadPeer, t.config.NoteReady, t.tlvs[TLVUniqueID]
		terms.MaxAge, terms.MaxAgeJitter, terms.MaxAgeIdleOnly = age.Age, age.Jitter, age.IdleOnly
	}
	return terms
}

// A BackendRecord is a backend by all that it is known by.
type BackendRecord struct {
	Name    string       `json:"name"`
	Address pool.Address `json:"address"`
	Host    string       `json:"host,omitempty"` // of version 1.0, and not used: the name that Address was found by
}

// An EndRecord is what is known of one socket. What it is ready for is no part of that: the
// process that gets it is told by its own epoll.
type EndRecord struct {
	Header            uint16 `json:"header,omitempty"`
	PeerClosed        bool   `json:"peer_closed,omitempty"`
	Failed            bool   `json:"failed,omitempty"`
	InOrder           bool   `json:"in_order,omitempty"`
	ShortReadsLie     bool   `json:"short_reads_lie,omitempty"`
	UserTimeoutLifted bool   `json:"user_timeout_lifted,omitempty"`
	Guarded           bool   `json:"guarded,omitempty"`
	Introduced        bool   `json:"introduced,omitempty"`
}

// bits are the bits of readiness that travel, and where in the record.
func (r *EndRecord) bits() [7]struct {
	bit readiness
	set *bool
} {
	return [7]struct {
		bit readiness
		set *bool
	}{
		{peerClosed, &r.PeerClosed}, {failed, &r.Failed}, {inOrder, &r.InOrder}, {shortReadsLie, &r.ShortReadsLie},
		{userTimeoutLifted, &r.UserTimeoutLifted}, {guarded, &r.Guarded}, {introduced, &r.Introduced},
	}
}

func (e *end) record() (r EndRecord) {
	r.Header = e.header
	for _, b := range r.bits() {
		*b.set = e.ready&b.bit != 0
	}
	return r
}

func (r *EndRecord) end(fd int) end {
	e := end{fd: int32(fd), header: r.Header}
	for _, b := range r.bits() {
		if *b.set {
			e.ready |= b.bit
		}
	}
	return e
}

// A HalfRecord is one direction of a session.
type HalfRecord struct {
	Bytes    uint64 `json:"bytes"`
	Held     []byte `json:"held,omitempty"`
	Owed     uint32 `json:"owed,omitempty"`
	Streak   uint8  `json:"streak,omitempty"`
	NoSplice bool   `json:"no_splice,omitempty"`
	EOF      bool   `json:"eof,omitempty"`
	Done     bool   `json:"done,omitempty"`
}

func (h *half) record() HalfRecord {
	return HalfRecord{h.bytes, h.held, h.owed, h.streak, h.noSplice, h.eof, h.done}
}

func (r *HalfRecord) half() half {
	h := half{bytes: r.Bytes, owed: r.Owed, streak: min(r.Streak, streakLimit), noSplice: r.NoSplice, eof: r.EOF, done: r.Done}
	if len(r.Held) > 0 {
		h.held = r.Held
	}
	return h
}

// A NamesRecord is what a session is called, and who has failed it.
type NamesRecord struct {
	Server string      `json:"server,omitempty"`
	Unique string      `json:"unique,omitempty"`
	Tried  []TryRecord `json:"tried,omitempty"`
}

// A TryRecord is a Try.
type TryRecord struct {
	Backend string        `json:"backend"`
	Reason  Reason        `json:"reason"`
	Errno   syscall.Errno `json:"errno,omitempty"`
	Took    time.Duration `json:"took,omitempty"`
}

func (n *names) record() *NamesRecord {
	if n == nil {
		return nil
	}
	r := &NamesRecord{Server: n.server, Unique: n.unique}
	for _, t := range n.tried {
		r.Tried = append(r.Tried, TryRecord(t))
	}
	return r
}

func (r *NamesRecord) names() *names {
	if r == nil {
		return nil
	}
	n := &names{server: r.Server, unique: r.Unique}
	for _, t := range r.Tried[max(0, len(r.Tried)-maxTries):] {
		n.tried = append(n.tried, Try(t))
	}
	return n
}

// since is how long ago a time was, and until how long it is to one; 0 = there is none.
func since(at, now time.Duration) time.Duration {
	if at == 0 {
		return 0
	}
	return max(1, now-at)
}

func until(at, now time.Duration) time.Duration {
	if at == 0 {
		return 0
	}
	return max(1, at-now)
}

// ago and ahead are the times that since and until were told of, on another clock.
func ago(since, now time.Duration) time.Duration {
	if since == 0 || since == now {
		return since
	}
	return now - since
}

func ahead(until, now time.Duration) time.Duration {
	if until == 0 {
		return 0
	}
	return now + until
}

func recordOf(b *pool.Backend) BackendRecord {
	return BackendRecord{Name: b.Name(), Address: b.Address()}
}

func recordsOf(list []*pool.Backend) (records []BackendRecord) {
	for _, b := range list {
		records = append(records, recordOf(b))
	}
	return records
}

// record returns what travels of a session that is out of its loop since now.
func (f *frozen) record() Record {
	s := &f.session
	r := Record{
		ID: s.id, State: s.state.String(), Listener: s.rules.listener.name, Terms: termsOf(s.rules, s.target),
		Client: s.client, Counted: s.counted, Sealed: s.sealed, Cut: s.cut, Attempt: s.attempt, Retries: s.retries,
		Age: f.now + f.stalled - s.started, Idle: f.now - s.active, Connect: s.connect, LookIn: until(s.lookAt, f.now),
		Waited: s.waited, ClientEnd: s.ends[client].record(),
		ToServer: s.halves[client].record(), ToClient: s.halves[server].record(), Login: s.login, Names: s.names.record(),
	}
	if s.target != nil {
		r.Pool = s.target.config.Pool.Name()
	}
	if s.backend != nil {
		b := recordOf(s.backend)
		r.Backend = &b
	}
	if s.ends[server].fd >= 0 {
		e := s.ends[server].record()
		r.ServerEnd = &e
	}
	if s.opening != nil {
		r.Opening = s.opening.record(f.now)
		if r.Opening.Waiting != 0 {
			r.Opening.Place = f.place
		}
	}
	return r
}
