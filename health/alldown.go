package health

import "time"

// outage is how the checks of one backend fail.
type outage struct {
	failing bool      // they do, up to now
	began   time.Time // when the first of the failures was counted
	out     time.Time // when the backend was taken down, by whatever; zero: it is up
}

// allDown reports whether all backends of a pool that were up when b's checks began to fail have begun to fail within
// one window of b. The others are those of the pool; b may be among them. A backend that was alone up counts as all.
//
// It takes no more than one wrong password, or one firewall rule, to fail every check of a pool of healthy servers.
func allDown(b outage, others []outage, window time.Duration) bool {
	for _, o := range others {
		if !o.out.IsZero() && o.out.Before(b.began) {
			continue // it was not up
		}
		if !o.failing || o.began.Sub(b.began).Abs() > window {
			return false
		}
	}
	return true
}

// stormWindow is within what time the checks of one pool fail when they fail together.
func (c Config) stormWindow() time.Duration {
	return time.Duration(float64(c.Interval)*(1+c.Jitter)) + c.Timeout
}
