package health

import (
	"crypto/sha256"
	"encoding/hex"
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
	text    string // of a way
	address pool.Address
}

// id returns what is the same in every process that asks the question. Passwords may be in it: it tells nothing of it. The
// empty text is where version 1.0 of the hand-over had a backend without an address.
func (q question) id() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", q.text, q.address.String(), ""))
	return hex.EncodeToString(sum[:])
}

// way is how a pool asks its backends: what, and how often.
type way struct{ text, rhythm string }

// wayOf returns how a pool asks. What it makes of the answers, Role, MaxLag, OnDown and Eject, is not part of it. The
// configuration has its defaults.
func wayOf(c *Config) way {
	p := &c.Probe
	text := fmt.Sprintf("%v %q %d %d %v", p.Kind, p.Address, p.Port, p.ProxyVersion, p.Sources)
	text += fmt.Sprintf(" %t %#v %#v %#v %#v", p.InTLS, p.TLS, p.HTTP, p.Postgres, p.MySQL) + stepsText(p.Steps)
	return way{text, fmt.Sprintf("%v %v %v %v %d %d %g", c.Interval, c.FastInterval, c.DownInterval, c.Timeout,
		c.Rise, c.Fall, c.Jitter)}
}

// keyOf returns the key of the probe of a backend there.
func (y way) keyOf(address pool.Address) targetKey {
	return targetKey{question{text: y.text, address: address}, y.rhythm}
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
