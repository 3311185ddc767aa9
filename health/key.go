package health

import (
	"fmt"

	"sluice/health/probe"
	"sluice/pool"
)

// targetKey is the same for two backends exactly when they are asked the same in the same way, so that one probe does
// for both.
type targetKey string

// keyOf returns the key of a backend's probe. What a pool makes of the answers, Role, MaxLag, OnDown and Eject, is not
// part of it. The configuration has its defaults.
func keyOf(c Config, address pool.Address) targetKey {
	p := c.Probe
	key := fmt.Sprintf("%q %v %v %v %v %d %d %g", address, c.Interval, c.FastInterval, c.DownInterval, c.Timeout,
		c.Rise, c.Fall, c.Jitter)
	key += fmt.Sprintf(" %v %q %d %d %v", p.Kind, p.Address, p.Port, p.ProxyVersion, p.Sources)
	return targetKey(key + fmt.Sprintf(" %t %#v %#v %#v %#v", p.InTLS, p.TLS, p.HTTP, p.Postgres, p.MySQL) +
		stepsKey(p.Steps))
}

// stepsKey writes out what steps point to.
func stepsKey(steps []probe.Step) (key string) {
	for _, s := range steps {
		pattern := ""
		if s.Pattern != nil {
			pattern = s.Pattern.String()
		}
		key += fmt.Sprintf(" (%q %q %t %q)", s.Send, s.Want, s.Pattern != nil, pattern)
	}
	return key
}
