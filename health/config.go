package health

import (
	"time"

	"sluice/health/probe"
)

// Config is how the backends of one pool are watched. Start from DefaultConfig.
type Config struct {
	Probe        probe.Config
	Interval     time.Duration // from the start of one probe to the start of the next; 0 = the default
	FastInterval time.Duration // the same while something is changing; 0 = the default; never more than Interval
	DownInterval time.Duration // the same while the server does not answer; 0 = the default; never less than Interval
	Timeout      time.Duration // of one probe; 0 = the default
	Rise         int           // successes in a row that bring a backend up; 0 = the default
	Fall         int           // failures in a row that take it down; 0 = the default
	Jitter       float64       // 0.2 = intervals up to 20 % shorter or longer, a tenth at least; 0 = none, at most 1

	Role   Role          // of database servers
	MaxLag time.Duration // a replica that lags more is taken out while another backend is left; 0 = no limit

	Eject  EjectConfig
	OnDown OnDown
}

// EjectConfig is when failed connects of sessions take a backend out, whatever its checks say.
type EjectConfig struct {
	Failures   int           // failed connects in a row that eject; 0 = never eject
	Window     time.Duration // they must lie within this time; 0 = the default
	Duration   time.Duration // how long an ejected backend stays out; 0 = the default
	MaxPercent int           // share of the pool's backends that may be out at once, rounded down
}

// OnDown is what happens to the live sessions of a backend that takes no new ones any more, by the cause.
type OnDown struct {
	Failed   CloseRule // its checks fail
	Demoted  CloseRule // it is not the primary, in a pool of RolePrimary
	Promoted CloseRule // it is the primary, in a pool of RoleReplica
	Lagging  CloseRule // it lags more than MaxLag
	Maint    CloseRule // the operator has set it to maint
	Drain    CloseRule // the operator has set it to drain
	Removed  CloseRule // it is not in its pool any more, or its pool is not watched any more
}

// CloseRule is how live sessions are closed.
type CloseRule struct {
	Close bool          // false: they are kept
	Grace time.Duration // wait so long first; the backend may come back
	Rate  int           // sessions per second; 0 = all at once
}

// DefaultConfig returns the settings of a pool that is told nothing else: a TCP check each 2 s with 1 s to answer, each
// 500 ms while something changes and each 5 s while the server is dead, rise 2, fall 3; ejection for 30 s after 5 failed
// connects in 10 s, of half of the backends at most. Sessions of a demoted server are closed at once, those of a failed
// one, and readers of a promoted one, after 10 s, 50 a second, those of one in maintenance 50 a second; a replica that
// lags keeps them, and so does a backend that drains or was removed.
func DefaultConfig() Config {
	return Config{
		Probe:        probe.Config{Kind: probe.TCP},
		Interval:     2 * time.Second,
		FastInterval: 500 * time.Millisecond,
		DownInterval: 5 * time.Second,
		Timeout:      time.Second,
		Rise:         2,
		Fall:         3,
		Jitter:       0.2, // enough to keep the checks of many pools and balancers from falling into step
		Eject: EjectConfig{
			Failures: 5, Window: 10 * time.Second, Duration: 30 * time.Second, MaxPercent: 50,
		},
		OnDown: OnDown{
			Failed:   CloseRule{Close: true, Grace: 10 * time.Second, Rate: 50},
			Demoted:  CloseRule{Close: true},
			Promoted: CloseRule{Close: true, Grace: 10 * time.Second, Rate: 50}, // its readers are well served meanwhile
			Lagging:  CloseRule{},
			Maint:    CloseRule{Close: true, Rate: 50},
			Drain:    CloseRule{},
			Removed:  CloseRule{},
		},
	}
}

// withDefaults returns the configuration with every setting that has no meaning at 0 or below replaced.
func (c Config) withDefaults() Config {
	d := DefaultConfig()
	c.Interval = orDefault(c.Interval, d.Interval)
	c.FastInterval = min(orDefault(c.FastInterval, d.FastInterval), c.Interval)
	c.DownInterval = max(orDefault(c.DownInterval, d.DownInterval), c.Interval)
	c.Timeout = orDefault(c.Timeout, d.Timeout)
	c.Rise = orDefault(c.Rise, d.Rise)
	c.Fall = orDefault(c.Fall, d.Fall)
	c.Jitter = min(max(c.Jitter, 0), 1)
	c.MaxLag = max(c.MaxLag, 0)
	c.Eject.Failures = max(c.Eject.Failures, 0)
	c.Eject.Window = orDefault(c.Eject.Window, d.Eject.Window)
	c.Eject.Duration = orDefault(c.Eject.Duration, d.Eject.Duration)
	return c
}

// Judged reports whether more is asked of a server than that it answers. Such a backend takes no session before its
// first check has said what it is.
func (c Config) Judged() bool {
	return c.asksDatabase() && (c.Role != RoleAny || c.MaxLag > 0)
}

// elects reports whether one of the servers is to be the primary.
func (c Config) elects() bool { return c.asksDatabase() && c.Role == RolePrimary }

// asksDatabase reports whether the servers tell a role.
func (c Config) asksDatabase() bool {
	return c.Probe.Kind == probe.Postgres || c.Probe.Kind == probe.MySQL
}

// compares reports whether the servers are judged together.
func (c Config) compares() bool { return c.elects() || c.Judged() && c.MaxLag > 0 }

func orDefault[T int | time.Duration](v, fallback T) T {
	if v <= 0 {
		return fallback
	}
	return v
}
