package health

import (
	"fmt"

	"sluice/health/probe"
	"sluice/pool"
)

// targetKey is the same for two backends exactly when they are asked the same in the same way, so that one probe does
// for both.
type targetKey struct {
	question question
	rhythm   string // how often it is asked, and how many answers count
}

// question is what is asked of whom.
type question struct {
	text string
	late *pool.Backend // whose address is not known: two of them may get the same one; nil: it is known
}

// keyFor returns the key of a backend's probe. What a pool makes of the answers, Role, MaxLag, OnDown and Eject, is not
// part of it. The configuration has its defaults.
func keyFor(c Config, b *pool.Backend) targetKey {
	lost := b.Lost() != ""
	key := keyOf(c, b.Address())
	if lost {
		key.question.late = b
	}
	return key
}

// keyOf is keyFor of a backend whose address is known.
func keyOf(c Config, address pool.Address) targetKey {
	p := c.Probe
	text := fmt.Sprintf("%q %v %q %d %d %v", address, p.Kind, p.Address, p.Port, p.ProxyVersion, p.Sources)
	text += fmt.Sprintf(" %t %#v %#v %#v %#v", p.InTLS, p.TLS, p.HTTP, p.Postgres, p.MySQL) + stepsText(p.Steps)
	rhythm := fmt.Sprintf("%v %v %v %v %d %d %g", c.Interval, c.FastInterval, c.DownInterval, c.Timeout,
		c.Rise, c.Fall, c.Jitter)
	return targetKey{question{text: text}, rhythm}
}

// stepsText writes out what steps point to.
func stepsText(steps []probe.Step) (text string) {
	for _, s := range steps {
		pattern := ""
		if s.Pattern != nil {
			pattern = s.Pattern.String()
		}
		text += fmt.Sprintf(" (%q %q %t %q)", s.Send, s.Want, s.Pattern != nil, pattern)
	}
	return text
}
