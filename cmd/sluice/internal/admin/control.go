package admin

import (
	"context"
	"fmt"
	"net"
	"time"

	"sluice/cmd/sluice/internal/change"
	"sluice/cmd/sluice/internal/overrides"
	"sluice/configs"
)

// Control is what can be changed through the control socket. Every method answers with what has changed, or, of a dry run,
// would. The error is configs.Problems, Invalid, NotFound, Conflict, WrongConfig, or one of the machine.
type Control interface {
	// Reload reads the configuration again and puts it in force.
	Reload(context.Context, Reload) (change.Change, error)
	// Override sets keys of one backend.
	Override(ctx context.Context, pool, backend string, set map[string]string, by By) (change.Change, error)
	// Unset takes back some keys of one backend, all of them when there are none.
	Unset(ctx context.Context, pool, backend string, keys []string, by By) (change.Change, error)
	// AddBackend gives a pool a backend that its configuration does not have.
	AddBackend(ctx context.Context, pool string, b NewBackend, by By) (change.Change, error)
	// RemoveBackend takes a backend out of its pool.
	RemoveBackend(ctx context.Context, pool, backend string, by By) (change.Change, error)
	// Rebalance closes idle sessions of backends that have too many, once. It takes its time.
	Rebalance(ctx context.Context, pool string, by By) (Rebalanced, error)
	// Overrides returns what is set.
	Overrides() []OverrideStatus
	// Generation says which configuration is in force.
	Generation() Generation
}

// A Successor is a Control that another process can follow. One that is none has no such endpoints.
type Successor interface {
	// Upgrade starts a process that takes over, and returns when that serves. This one is about to end then.
	Upgrade(ctx context.Context, asked UpgradeRequest, by By) (Upgraded, error)
	// TakeOver lets the process at the other end take over, which has the right to. The connection, on which that process
	// speaks first, is the callee's. It returns when the hand-over is over.
	TakeOver(c *net.UnixConn, by By) error
	// LastUpgrade returns how the last one went; nil: there was none.
	LastUpgrade() *UpgradeStatus
}

// An UpgradeRequest says what is to take over.
type UpgradeRequest struct {
	Binary     string // "" = the one that this process was started from
	IfReplaced bool   // only if that is another file by now than the one that runs
}

// Upgraded is how an upgrade went that was asked for.
type Upgraded struct {
	OK            bool    `json:"ok"`               // false: the program was not replaced, and nothing was done
	Reason        string  `json:"reason,omitempty"` // why it was not, if somebody should know
	VersionBefore string  `json:"version_before"`
	Version       string  `json:"version"`
	PID           int     `json:"pid"`      // of the process that serves now
	Sessions      int     `json:"sessions"` // that have come to it
	Left          int     `json:"left"`     // that have not, and were ended or stay where they were until they end
	AcceptPause   float64 `json:"accept_pause_seconds"`
	LongestPause  float64 `json:"longest_pause_seconds"` // of one session
	Seconds       float64 `json:"seconds"`               // all of it
}

// Rebalanced says what the backends of a pool had too many, and what was closed of that.
type Rebalanced struct {
	Pool     string    `json:"pool"`
	Backends []Surplus `json:"backends"`
	Ended    int       `json:"ended"` // 0 of a dry run; fewer than the surplus: the others are in use, or the client has left
}

// A Surplus is what a backend has too many.
type Surplus struct {
	Backend  string `json:"backend"`
	Sessions int    `json:"sessions"`
	Surplus  int    `json:"surplus"`
}

// A By says who asks, and whether it is only asked what would change.
type By struct {
	User   string // of the process at the other end of the control socket, such as "root" or "uid 1000"
	DryRun bool
}

// A Reload says what is to be read. Files, which are looked at in place of the configuration, are for a dry run only.
type Reload struct {
	By
	Files []configs.SourceText
}

// A NewBackend is one that is to be added to a pool.
type NewBackend struct {
	Address string            // HOST:PORT, [IPV6]:PORT or unix:/PATH
	Name    string            // "" = its address
	Set     map[string]string // by key: state, weight, max_conns, backup
}

// A Generation is one configuration in force.
type Generation struct {
	Number     uint64       `json:"number"`
	Since      time.Time    `json:"since"`
	LastReload *LastReload  `json:"last_reload,omitempty"` // absent: there was none
	Pending    []change.Key `json:"pending,omitempty"`     // what waits for the next start
}

// A LastReload is how the last reload went. One that failed has changed nothing.
type LastReload struct {
	At       time.Time        `json:"at"`
	OK       bool             `json:"ok"`
	Error    string           `json:"error,omitempty"`
	Problems configs.Problems `json:"problems,omitempty"`
}

// An OverrideStatus is one setting of an operator.
type OverrideStatus struct {
	overrides.Setting
	InFile  string `json:"in_file"` // what the configuration says; empty when it does not have the backend
	Dormant bool   `json:"dormant"` // it has no effect now: the pool or the backend is not there
}

// generation returns the one in force. Without a Control there is the first.
func (o *Options) generation() Generation {
	if o.Control == nil {
		return Generation{Number: 1, Since: o.Started}
	}
	return o.Control.Generation()
}

// Invalid is an error of a request that asks for what cannot be.
type Invalid struct{ error }

// Invalidf returns an Invalid.
func Invalidf(format string, args ...any) error { return Invalid{fmt.Errorf(format, args...)} }

// NotFound is an error of a request for something that is not there.
type NotFound struct{ error }

// NotFoundf returns a NotFound.
func NotFoundf(format string, args ...any) error { return NotFound{fmt.Errorf(format, args...)} }

// Conflict is an error of a request that something there is in the way of.
type Conflict struct{ error }

// Conflictf returns a Conflict.
func Conflictf(format string, args ...any) error { return Conflict{fmt.Errorf(format, args...)} }

// forbidden is an error of somebody who may not ask for that.
type forbidden struct{ error }

// wrongConfig is an error of a configuration that need not have configs.Problems, as of a file that it names.
type wrongConfig struct{ error }

// WrongConfig makes an error one of the configuration.
func WrongConfig(err error) error { return wrongConfig{err} }

func (e wrongConfig) Unwrap() error { return e.error }
