package pool

import "time"

// Account is what the pool of the next process must know of this one, all of one moment. What can be configured is in it
// only so that a difference shows.
type Account struct {
	Name       string           `json:"name"`
	Balance    string           `json:"balance"`
	NoFailback bool             `json:"no_failback,omitempty"`
	Backends   []BackendAccount `json:"backends,omitempty"`   // in configured order, and those that leave
	Leader     string           `json:"leader,omitempty"`     // with NoFailback: who takes the new sessions; "" = nobody
	Led        bool             `json:"led,omitempty"`        // the leader stays
	LastPlace  uint64           `json:"last_place,omitempty"` // that was given to anybody who waits
}

// BackendAccount is what the next process must know of a backend. Durations are in nanoseconds.
type BackendAccount struct {
	Name    string  `json:"name"`
	Address Address `json:"address"`
	Host    string  `json:"host,omitempty"` // of version 1.0, and not used: the name that Address was found by

	Removed          bool       `json:"removed,omitempty"` // and it has sessions still
	State            AdminState `json:"state"`
	Vanished         bool       `json:"vanished,omitempty"`
	Weight           int        `json:"weight"`
	Backup           bool       `json:"backup,omitempty"`
	BackupConfigured bool       `json:"backup_configured,omitempty"` // it would be a backup if nobody had said otherwise since

	Up       bool   `json:"up"`
	Unproven bool   `json:"unproven,omitempty"`
	Ejected  bool   `json:"ejected,omitempty"`
	Lost     string `json:"lost,omitempty"` // of version 1.0, and not used: why Address is not whole

	Ramp    time.Duration `json:"ramp,omitempty"` // how long its slow start has lasted; 0 = it is whole
	Credit  int           `json:"credit,omitempty"`
	Active  int           `json:"active,omitempty"` // slots that sessions of this process hold
	Changes uint64        `json:"changes,omitempty"`
}

// Account returns what the pool of the next process must know of this one.
func (p *Pool) Account() Account {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ramp()
	now := time.Now()
	a := Account{
		Name: p.name, Balance: p.policy.String(), NoFailback: p.keeps, Led: p.led, LastPlace: p.queue.lastPlace,
		Backends: make([]BackendAccount, 0, len(p.Backends())+len(p.leaving)),
	}
	if p.leader != nil {
		a.Leader = p.leader.name
	}
	for _, backends := range [...][]*Backend{p.Backends(), p.leaving} {
		for _, b := range backends {
			a.Backends = append(a.Backends, b.account(now))
		}
	}
	return a
}

// account returns what the next process must know of the backend. The pool's mutex is held.
func (b *Backend) account(now time.Time) BackendAccount {
	a := BackendAccount{
		Name: b.name, Address: b.address,
		Removed: b.removed, State: b.admin, Vanished: b.config.Vanished, Weight: b.weight, Backup: b.backup, BackupConfigured: b.config.Backup,
		Up: b.up, Unproven: b.unproven, Ejected: b.ejected,
		Credit: b.credit, Active: b.held(), Changes: b.changes,
	}
	if b.share != whole {
		a.Ramp = max(1, now.Sub(b.back))
	}
	return a
}

// config returns what tells which backend it is.
func (a *BackendAccount) config() BackendConfig {
	return BackendConfig{Name: a.Name, Address: a.Address, Weight: a.Weight, Backup: a.BackupConfigured, State: a.State}
}

// usable reports whether the backend could be given sessions.
func (a *BackendAccount) usable() bool {
	return !a.Removed && a.State == Ready && !a.Vanished && a.Up && !a.Ejected && a.Weight > 0
}
