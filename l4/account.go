package l4

import (
	"encoding/hex"
	"fmt"
	"time"

	"sluice/l4/clients"
)

// An Account is what the next server must know of one that departs, besides its sessions.
type Account struct {
	LastID    uint64            `json:"last_id"`   // no session has had a larger one
	UniqueIDs string            `json:"unique_id"` // what the IDs that backends are told begin with, in hexadecimal
	Listeners []ListenerAccount `json:"listeners,omitempty"`
	Remaining Remaining         `json:"remaining,omitzero"`
}

// A ListenerAccount is what is known of the clients of one listener.
type ListenerAccount struct {
	Name    string           `json:"name"`
	Clients *clients.Account `json:"clients,omitempty"` // nil = there are no limits
	// Cancels are those who have sent cancel requests of Postgres with keys that are not known; nil = there are none.
	// Strangers is in how many nanoseconds as many strangers as ever may send some again.
	Cancels   *clients.Account `json:"cancels,omitempty"`
	Strangers time.Duration    `json:"strangers,omitempty"`
}

// accountMost bounds the clients that travel, of all listeners: 40 MB of JSON.
const accountMost = 1 << 20

// Account returns what the next server must know before it accepts. It comes after Retire, and
// from then on Remaining tells what changes.
func (d *Departure) Account() Account {
	srv := d.srv
	a := Account{LastID: srv.lastID(), UniqueIDs: hex.EncodeToString(srv.uniqueIDs[:])}
	most, now := accountMost, srv.clock()
	for _, ls := range srv.listeners() {
		rules := ls.rules.Load()
		account := ListenerAccount{Name: ls.name}
		take := func(table *clients.Table) *clients.Account {
			known, n := table.Account(now, most)
			most -= n
			return &known
		}
		if rules.clients != nil {
			account.Clients = take(rules.clients)
		}
		if rules.cancels != nil {
			account.Cancels, account.Strangers = take(rules.cancels.clients), rules.cancels.debt(now)
		}
		a.Listeners = append(a.Listeners, account)
	}
	a.Remaining = d.Remaining()
	return a
}

// lastID returns the largest ID that a session has had.
func (srv *Server) lastID() (last uint64) {
	ids := make(chan uint64, len(srv.loops))
	for _, l := range srv.loops {
		tell := func(int) { ids <- l.lastID*uint64(len(srv.loops)) + uint64(l.index) }
		if !srv.started() {
			tell(0)
			continue
		}
		l.inbox.post(message{kind: answerNow, ended: tell})
	}
	for range srv.loops {
		select {
		case id := <-ids:
			last = max(last, id)
		case <-srv.life.Done():
			return last
		}
	}
	return last
}

// Assume lets the server go on where another one has stopped. It comes before Start.
func (srv *Server) Assume(a Account) error {
	if n, err := hex.Decode(srv.uniqueIDs[:], []byte(a.UniqueIDs)[:min(len(a.UniqueIDs), 2*len(srv.uniqueIDs))]); err != nil || n < len(srv.uniqueIDs) {
		return fmt.Errorf("assume the account of another server: unique ID %q: want %d hexadecimal digits",
			a.UniqueIDs, 2*len(srv.uniqueIDs))
	}
	for _, l := range srv.loops {
		l.lastID = a.LastID / uint64(len(srv.loops)) // the next one is larger
	}
	now := srv.clock()
	for _, account := range a.Listeners {
		for _, ls := range srv.listeners() {
			if ls.name != account.Name {
				continue
			}
			if err := ls.rules.Load().assume(&account, now); err != nil {
				return fmt.Errorf("assume the account of listener %q: %w", ls.name, err)
			}
		}
	}
	if err := srv.Expect(a.Remaining); err != nil {
		return fmt.Errorf("assume the account of another server: %w", err)
	}
	return nil
}

func (r *rules) assume(a *ListenerAccount, now time.Duration) error {
	if r.clients != nil && a.Clients != nil {
		if err := r.clients.Assume(*a.Clients, now); err != nil {
			return err
		}
	}
	if r.cancels == nil || a.Cancels == nil {
		return nil
	}
	r.cancels.assume(a.Strangers, now)
	return r.cancels.clients.Assume(*a.Cancels, now)
}
