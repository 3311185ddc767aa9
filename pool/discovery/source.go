package discovery

import (
	"context"
	"strings"
	"time"

	"sluice/pool"
)

// A Source says which backends there are.
type Source interface {
	// Key tells the source from others, and is how people read it: "dns app.internal:8080". Two sources of one key are the
	// same.
	Key() string
	// Ask returns one answer, for those who cannot wait for the next one. An error that is Warnings comes beside an answer.
	Ask(ctx context.Context) ([]Found, error)
	// Run reports every answer until ctx is done, the first one as soon as it can. It never gives up: what goes wrong is
	// reported too, and tried again.
	Run(ctx context.Context, report func(Report))
}

// Warnings are what is wrong with single backends, which an answer is without.
type Warnings []string

// Error returns all of them.
func (w Warnings) Error() string { return strings.Join(w, "; ") }

// A Report is what a source has found out. Its slice is not changed any more.
type Report struct {
	Found []Found   // all there are; meaningless with Err. None at all is an answer too
	Err   error     // why there is no answer; nil: there is one
	Next  time.Time // when it is asked again; zero: when it has news

	Warnings []string // what is wrong with single backends, which are not in Found
	Reason   string   // why there are none in Found; "" = nothing is known of that

	// Other says that the source is there for something else than backends: that there are none is no news. Err may be set.
	Other bool
}

// Found is one backend in an answer.
type Found struct {
	Name    string       `json:"name,omitempty"` // what the source calls it; "" = as its address is written
	Address pool.Address `json:"address"`        // whole, or a port alone where Host stands for the IP
	Host    string       `json:"host,omitempty"` // a name that is to be looked up in turn; "" = Address is whole
	Settings
}

// Settings is what a source says of a backend besides its address. What is nil is as the pool's template has it.
type Settings struct {
	Weight   *int             `json:"weight,omitempty"`    // 0 to pool.MaxWeight
	MaxConns *int             `json:"max_conns,omitempty"` // 0 = no limit
	Backup   *bool            `json:"backup,omitempty"`    // used only while no backend that is not a backup is usable
	State    *pool.AdminState `json:"state,omitempty"`     // what the operator wants
}
