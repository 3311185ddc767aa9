package dns

import (
	"net/netip"
	"testing"
	"time"
)

// TestKey: what is asked of whom is in the key, and what would be so anyhow is not.
func TestKey(t *testing.T) {
	with := func(name string, port uint16, change func(*Config)) Config {
		c := DefaultConfig(name, port)
		change(&c)
		return c
	}
	resolvers := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.53:53"), netip.MustParseAddrPort("[fd00::53]:5353")}
	for want, c := range map[string]Config{
		"dns app.internal:8080":        DefaultConfig("App.Internal", 8080),
		"dns _pg._tcp.x":               DefaultConfig("_pg._tcp.x", 0),
		"dns _pg._tcp.y":               with("_pg._tcp.y", 0, func(c *Config) { c.Type = SRV }),
		"dns _pg._tcp.x:5432":          DefaultConfig("_pg._tcp.x", 5432),
		"dns app:80 type=a":            with("app", 80, func(c *Config) { c.Type = A }),
		"dns app:80 type=aaaa":         with("app", 80, func(c *Config) { c.Type = AAAA }),
		"dns _app:80 type=a":           with("_app", 80, func(c *Config) { c.Type = A }),
		"dns app type=srv":             with("app", 0, func(c *Config) { c.Type = SRV }),
		"dns app:80 max_ttl=5s":        with("app", 80, func(c *Config) { c.MaxTTL = 5 * time.Second }),
		"dns app:80 min_ttl=1m30s":     with("app", 80, func(c *Config) { c.MinTTL = 90 * time.Second }),
		"dns app:80 min_ttl=2s":        with("app", 80, func(c *Config) { c.MinTTL = 2 * time.Second }),
		"dns app:80 resolver=[::1]:53": with("app", 80, func(c *Config) { c.Resolvers = []netip.AddrPort{netip.MustParseAddrPort("[::1]:53")} }),
		"dns app:80 type=a resolver=10.0.0.53:53,[fd00::53]:5353 min_ttl=2s max_ttl=1h0m0s": with("app", 80, func(c *Config) {
			c.Type, c.Resolvers, c.MinTTL, c.MaxTTL = A, resolvers, 2*time.Second, time.Hour
		}),
	} {
		if got := c.Key(); got != want {
			t.Errorf("key is %q, want %q", got, want)
		}
	}
}

// TestAsksSRV: by the type, or by the name where the type leaves it open.
func TestAsksSRV(t *testing.T) {
	for _, c := range []struct {
		name string
		kind Type
		want bool
	}{
		{"_pg._tcp.x", Auto, true}, {"app", Auto, false}, {"app", SRV, true}, {"_pg._tcp.x", A, false}, {"_pg._tcp.x", AAAA, false},
	} {
		config := DefaultConfig(c.name, 1)
		config.Type = c.kind
		if got := config.AsksSRV(); got != c.want {
			t.Errorf("%s of type %s: SRV %t, want %t", c.name, c.kind, got, c.want)
		}
	}
}
