package pool

import (
	"fmt"
	"sync/atomic"
	"time"
)

// MaxWeight is the largest weight of a backend.
const MaxWeight = 256

// BackendConfig is what a pool is told about one backend.
type BackendConfig struct {
	Name     string // unique in the pool
	Address  Address
	Weight   int        // share of the sessions, 0 to MaxWeight; 0 = no new sessions
	MaxConns int        // active connections at most; 0 = no limit
	Backup   bool       // used only while no backend that is not a backup is usable
	State    AdminState // what the operator wants, until SetAdmin says otherwise
	Vanished bool       // whoever said that there is such a backend does not say so any more: no new sessions
	Down     bool       // it begins down, until SetUp says otherwise; for one that stays in its pool this has no meaning
	Unproven bool       // as Down, and it is up all the same while it joins or stays when no other is usable
}

// Backend is one server of a pool. It is safe for concurrent use.
type Backend struct {
	pool    *Pool
	name    string
	address Address

	// Guarded by pool.mu.
	config    BackendConfig // the latest
	removed   bool          // to change it takes pool.changing too
	backup    bool
	admin     AdminState
	up        bool
	ejected   bool
	unproven  bool      // began so, and SetUp was not called since
	wasUsable bool      // at the last Pool.refresh
	tried     bool      // only while a slot is looked for: its session failed here before
	weight    int       // to change it takes pool.changing too
	share     int       // percent of the weight that counts: whole, or less during slow start
	back      time.Time // when slow start began
	credit    int       // of turns
	maxConns  int
	active    int // slots that are taken; above maxConns when the limit was lowered
	elsewhere int // those of them that another process holds, see Expect

	changes uint64 // guarded by pool.mu: of up, ejected and admin

	dials     [numDialResults]atomic.Uint64
	obstacles [numObstacles]atomic.Uint64
	traffic   []traffic                              // by event loop
	carried   struct{ received, sent atomic.Uint64 } // by processes before this one
}

func newBackend(p *Pool, c BackendConfig) *Backend {
	return &Backend{
		pool: p, name: c.Name, address: c.Address, config: c,
		backup: c.Backup, admin: c.State, up: !c.Down && !c.Unproven, unproven: c.Unproven, weight: c.Weight, share: whole, maxConns: c.MaxConns,
		traffic: make([]traffic, p.shards),
	}
}

// Name returns the backend's name, unique in its pool.
func (b *Backend) Name() string { return b.name }

// Address returns where the backend listens.
func (b *Backend) Address() Address { return b.address }

// Pool returns the pool that the backend is in.
func (b *Backend) Pool() *Pool { return b.pool }

// Config returns what the pool was told about the backend last, by New or Update. What was set since does not show.
func (b *Backend) Config() BackendConfig {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	return b.config
}

// BackupConfigured is Config().Backup.
func (b *Backend) BackupConfigured() bool {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	return b.config.Backup
}

// Backup reports whether the backend is used, now, only while no other kind is usable.
func (b *Backend) Backup() bool {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	return b.backup
}

// Weight returns the backend's weight now.
func (b *Backend) Weight() int {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	return b.weight
}

// Admin returns what the operator wants of the backend now.
func (b *Backend) Admin() AdminState {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	return b.admin
}

// Vanished reports whether the latest configuration keeps the backend only for the sessions that it has.
func (b *Backend) Vanished() bool {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	return b.config.Vanished
}

// Wanted reports whether the backend is to be given sessions, whatever is known of its server: it is ready, has a weight
// and has not vanished.
func (b *Backend) Wanted() bool {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	return b.wanted()
}

// Usable reports whether the backend could be given sessions: it is ready, up, not ejected, not removed, has not vanished
// and has a weight.
func (b *Backend) Usable() bool {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	return b.usable()
}

// Down reports whether sessions that the backend has not answered had better try another one: active checks say that it is
// not up, or the operator works on it.
func (b *Backend) Down() bool {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	return !b.up || b.admin == Maint
}

// Active returns how many of the backend's slots are taken now, by sessions of another process too: see Expect.
func (b *Backend) Active() int {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	return b.active
}

// Release gives a slot back, and with it the place to whoever waits for one. A backend that was removed is forgotten by
// its pool with the last one. It panics when there is none to give back: a slot was then released twice, and every count
// since is wrong.
func (b *Backend) Release() {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	if b.held() == 0 {
		panic(fmt.Sprintf("pool: release backend %s/%s: no slot is taken", b.pool.name, b.name))
	}
	b.vacate(1)
}

// vacate gives slots back, and with them the places to those who wait. The pool's mutex is held.
func (b *Backend) vacate(slots int) {
	wasFull := b.full()
	b.active -= slots
	if b.removed {
		b.pool.forget(b)
		return
	}
	if wasFull && !b.full() { // whoever waits while there is room is barred from here
		b.pool.grant()
	}
}

// Unproven reports whether the backend began so, and SetUp has not been called since.
func (b *Backend) Unproven() bool {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	return b.unproven
}

// SetUp records what active checks say, and reports whether that is new. A backend starts up.
func (b *Backend) SetUp(up bool) (changed bool) {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	b.unproven = false
	if b.up == up {
		return false
	}
	b.up = up
	b.changes++
	b.pool.refresh()
	return true
}

// SetEjected records what passive evidence, failed dials, says, and reports whether that is new.
func (b *Backend) SetEjected(ejected bool) (changed bool) {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	if b.ejected == ejected {
		return false
	}
	b.ejected = ejected
	b.changes++
	b.pool.refresh()
	return true
}

// SetAdmin sets what the operator wants of the backend. Sessions it has are not touched.
func (b *Backend) SetAdmin(s AdminState) {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	if b.admin != s {
		b.changes++
	}
	b.admin = s
	b.pool.refresh()
}

// SetBackup changes the backend's tier. Sessions it has are not touched.
func (b *Backend) SetBackup(backup bool) {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	b.backup = backup
	b.pool.refresh()
}

// SetWeight changes the backend's share of new sessions. It returns an error, and changes nothing, when the weight is
// not from 0 to MaxWeight.
func (b *Backend) SetWeight(weight int) error {
	if err := checkWeight(weight); err != nil {
		return fmt.Errorf("set backend %q: %w", b.name, err)
	}
	b.pool.reweigh(b, weight)
	return nil
}

// SetMaxConns changes the backend's limit of active connections; 0 = no limit. Connections beyond a lower limit stay.
// It returns an error, and changes nothing, when the limit is negative.
func (b *Backend) SetMaxConns(limit int) error {
	if err := checkMaxConns(limit); err != nil {
		return fmt.Errorf("set backend %q: %w", b.name, err)
	}
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	b.maxConns = limit
	b.pool.grant()
	return nil
}

// usable reports whether the backend's states let it take sessions. The pool's mutex is held.
func (b *Backend) usable() bool {
	return !b.removed && b.wanted() && b.up && !b.ejected
}

// wanted is Wanted. The pool's mutex is held.
func (b *Backend) wanted() bool { return b.admin == Ready && b.weight > 0 && !b.config.Vanished }

// full reports whether every slot is taken, or more than that. The pool's mutex is held.
func (b *Backend) full() bool { return b.maxConns > 0 && b.active >= b.maxConns }

// free reports whether a usable backend has room for the session that is being placed. The pool's mutex is held.
func (b *Backend) free() bool { return !b.tried && !b.full() }

func checkWeight(weight int) error {
	if weight < 0 || weight > MaxWeight {
		return fmt.Errorf("weight %d: want 0 to %d", weight, MaxWeight)
	}
	return nil
}

func checkMaxConns(limit int) error {
	if limit < 0 {
		return fmt.Errorf("max_conns %d: want 0 (no limit) or more", limit)
	}
	return nil
}
