// Package takeover is what two processes of sluice tell each other when one takes over from the other: the bodies of the
// messages of package sysutil/handoff, which has their order. Both versions read what they know: a key that is unknown is
// passed over, and one that is absent is zero.
package takeover

import (
	"encoding/json"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/overrides"
	"sluice/cmd/sluice/internal/statefile"
	"sluice/health"
	"sluice/l4"
	"sluice/pool"
	"sluice/pool/discovery"
	"sluice/sysutil"
	"sluice/sysutil/handoff"
)

// Major is the version of the format that this program speaks. Tests speak another one.
var Major = handoff.Major

// A Version says who speaks: the body of hello and welcome.
type Version struct {
	Major   int    `json:"major"`
	Minor   int    `json:"minor"`
	Version string `json:"version"` // of the program
	PID     int    `json:"pid"`     // in the namespace of who says it
}

// Understood reports whether everything that the two say is understood. Otherwise only the sockets of State are.
func (v Version) Understood() bool { return v.Major == Major }

// State is what is not a session. With it come the descriptors of Sockets, of Passed and of Admin, in this order.
type State struct {
	Generation uint64               `json:"generation,omitempty"`
	Overrides  []overrides.Setting  `json:"overrides,omitempty"`
	Timelines  json.RawMessage      `json:"timelines,omitempty"`  // of health.Monitor
	Unreadable string               `json:"unreadable,omitempty"` // the path of a state file that must not be overwritten
	Addresses  []Address            `json:"addresses,omitempty"`  // of version 1.0: what the sources of host names have answered
	Answers    []discovery.Saved    `json:"answers,omitempty"`    // of discovery.Watch
	Vanished   []statefile.Vanished `json:"vanished,omitempty"`
	LastReload *admin.LastReload    `json:"last_reload,omitempty"`
	Sockets    []l4.HandedSocket    `json:"sockets"`
	Passed     []Passed             `json:"passed,omitempty"`
	Admin      []AdminSocket        `json:"admin,omitempty"`
}

// An Address is what the host name of a backend has resolved to.
type Address struct {
	Pool    string       `json:"pool"`
	Backend string       `json:"backend"`
	Host    string       `json:"host"`
	Address pool.Address `json:"address"`
}

// A Passed is a socket that the service manager has opened for the first of all processes.
type Passed struct {
	Name    string       `json:"name"`
	Address pool.Address `json:"address"`
}

// What an admin socket is for.
const (
	Listen  = "listen"
	Metrics = "metrics"
	Socket  = "socket"
)

// An AdminSocket is where the admin API is asked.
type AdminSocket struct {
	For     string                 `json:"for"`
	Address string                 `json:"address"` // as configured
	File    sysutil.SocketIdentity `json:"file,omitzero"`
}

// Ready says that a world is built, and which sockets it has no use for.
type Ready struct {
	Untaken      []pool.Address `json:"untaken,omitempty"`
	UntakenAdmin []string       `json:"untaken_admin,omitempty"` // AdminSocket.For
}

// Accounts is what counts: how full everything is, and how it fares.
type Accounts struct {
	Server l4.Account       `json:"server"`
	Pools  []pool.Account   `json:"pools"`
	Health []health.Account `json:"health"`
}

// A Batch is sessions that come. Their descriptors come with it.
type Batch struct {
	Records []l4.Record `json:"records"`
}

// An Ack says that Accounts, or a Batch, are in, but for the sessions with these numbers.
type Ack struct {
	Refused []int `json:"refused,omitempty"`
}

// A Go makes the batch before it, if there is one, the successor's.
type Go struct {
	Remaining l4.Remaining `json:"remaining"`        // what has not come
	Wait      bool         `json:"wait,omitempty"`   // the sessions do not go on before the next Go without it
	Accept    bool         `json:"accept,omitempty"` // so are new connections
}

// Counters are the sums of all that was counted, since the first process.
type Counters struct {
	Server l4.Counters    `json:"server"`
	Pools  []PoolCounters `json:"pools"`
	Series admin.Carried  `json:"series"`
}

// PoolCounters are those of the backends of a pool.
type PoolCounters struct {
	Name     string                 `json:"name"`
	Backends []pool.BackendCounters `json:"backends"`
}

// Over says how it went, and how many sessions cannot come yet.
type Over struct {
	Left    int                 `json:"left,omitempty"`
	Upgrade admin.UpgradeStatus `json:"upgrade"`
}

// A Farewell says what became of those.
type Farewell struct {
	Counters Counters            `json:"counters"`
	Upgrade  admin.UpgradeStatus `json:"upgrade"`
}
