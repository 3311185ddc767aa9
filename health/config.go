package health

import "time"

// Config is how the backends of one pool are watched. Start from DefaultConfig.
type Config struct {
	Type     Kind
	Interval time.Duration // from the start of one check to the start of the next; 0 = the default
	Timeout  time.Duration // of one check; 0 = the default
	Rise     int           // successes in a row that bring a backend up; 0 = the default
	Fall     int           // failures in a row that take it down; 0 = the default
	Jitter   float64       // 0.2 = each interval is up to 20 % shorter or longer; 0 = none, at most 1
	Eject    EjectConfig
}

// EjectConfig is when failed connects of sessions take a backend out, whatever its checks say.
type EjectConfig struct {
	Failures   int           // failed connects in a row that eject; 0 = never eject
	Window     time.Duration // they must lie within this time; 0 = the default
	Duration   time.Duration // how long an ejected backend stays out; 0 = the default
	MaxPercent int           // share of the pool's backends that may be out at once, rounded down
}

// DefaultConfig returns the settings of a pool that is told nothing else: a TCP check each 2 s with 1 s to answer, rise
// 2, fall 3, and ejection for 30 s after 5 failed connects in 10 s, of half of the backends at most.
func DefaultConfig() Config {
	return Config{
		Type:     KindTCP,
		Interval: 2 * time.Second,
		Timeout:  time.Second,
		Rise:     2,
		Fall:     3,
		Jitter:   0.2, // enough to keep the checks of many pools and balancers from falling into step
		Eject: EjectConfig{
			Failures: 5, Window: 10 * time.Second, Duration: 30 * time.Second, MaxPercent: 50,
		},
	}
}

// withDefaults returns the configuration with every setting that has no meaning at 0 or below replaced.
func (c Config) withDefaults() Config {
	d := DefaultConfig()
	c.Interval = orDefault(c.Interval, d.Interval)
	c.Timeout = orDefault(c.Timeout, d.Timeout)
	c.Rise = orDefault(c.Rise, d.Rise)
	c.Fall = orDefault(c.Fall, d.Fall)
	c.Jitter = min(max(c.Jitter, 0), 1)
	c.Eject.Failures = max(c.Eject.Failures, 0)
	c.Eject.Window = orDefault(c.Eject.Window, d.Eject.Window)
	c.Eject.Duration = orDefault(c.Eject.Duration, d.Eject.Duration)
	return c
}

func orDefault[T int | time.Duration](v, fallback T) T {
	if v <= 0 {
		return fallback
	}
	return v
}
