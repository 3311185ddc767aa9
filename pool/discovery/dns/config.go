package dns

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Type is which records of a name are asked for.
type Type string

// The types.
const (
	Auto Type = "auto" // SRV for a name that begins with an underscore, A and AAAA for every other
	A    Type = "a"
	AAAA Type = "aaaa"
	SRV  Type = "srv"
)

// Types returns the word of every type, for messages that say what can be written.
func Types() []string { return []string{string(Auto), string(A), string(AAAA), string(SRV)} }

// Config says which name is asked for, of whom and how often.
type Config struct {
	Name string // in lower case; with a dot at its end it is whole, and no search list is tried
	Port uint16 // of every address; 0 = the one that each SRV record has, and only of SRV can it be that
	Type Type

	// Resolvers are asked in order, the next when one has no answer; none = /etc/hosts, then those of resolv.conf.
	Resolvers []netip.AddrPort

	// An answer is asked for again when its TTL is over, but no sooner and no later than this. Both are more than 0.
	MinTTL, MaxTTL time.Duration
}

// Least and most time between two questions when nothing else is said.
const (
	DefaultMinTTL = time.Second
	DefaultMaxTTL = time.Minute
)

// DefaultConfig returns what is asked for a name of which nothing more is said.
func DefaultConfig(name string, port uint16) Config {
	return Config{Name: strings.ToLower(name), Port: port, Type: Auto, MinTTL: DefaultMinTTL, MaxTTL: DefaultMaxTTL}
}

// AsksSRV reports whether SRV records are asked for.
func (c *Config) AsksSRV() bool {
	return c.Type == SRV || c.Type == Auto && strings.HasPrefix(c.Name, "_")
}

// Key returns what tells this source from others: the name and its port, then what is not as it would be by itself.
func (c *Config) Key() string {
	key := "dns " + c.Name
	if c.Port != 0 {
		key += ":" + strconv.Itoa(int(c.Port))
	}
	if c.Type != Auto && !(c.Type == SRV && strings.HasPrefix(c.Name, "_")) {
		key += " type=" + string(c.Type)
	}
	if len(c.Resolvers) > 0 {
		texts := make([]string, len(c.Resolvers))
		for i, r := range c.Resolvers {
			texts[i] = r.String()
		}
		key += " resolver=" + strings.Join(texts, ",")
	}
	if c.MinTTL != DefaultMinTTL {
		key += " min_ttl=" + c.MinTTL.String()
	}
	if c.MaxTTL != DefaultMaxTTL {
		key += " max_ttl=" + c.MaxTTL.String()
	}
	return key
}
