package dns

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	miekg "github.com/miekg/dns"

	"sluice/pool/discovery"
)

// How resolvers that are given are asked.
const (
	ownTimeout  = 2 * time.Second
	ownAttempts = 2
)

const (
	mostTime   = 30 * time.Second // of one look-up, whatever servers do
	hostsPause = 5 * time.Second  // between two looks at /etc/hosts, as if it were the TTL
)

// source is one name and those who are asked for it.
type source struct {
	config Config
	key    string
	resolver
	hosts    *file[[]netip.Addr] // nil when the resolvers are given
	settings *file[*settings]
	look     func(ctx context.Context, before map[question]bool) (*answer, error)
}

// An answer is what one look-up has found out.
type answer struct {
	found    []discovery.Found
	ttl      time.Duration
	had      map[question]bool // what had records
	partial  bool              // not everything was answered
	warnings []string
	reason   string // why nothing is found
}

// New returns the source that a configuration describes. It asks nothing before it runs.
func New(c Config) discovery.Source {
	s := &source{config: c, key: c.Key()}
	if len(c.Resolvers) == 0 {
		s.hosts = &file[[]netip.Addr]{path: hostsPath, parse: func(text []byte) []netip.Addr { return parseHosts(text, c.Name) }}
		s.settings = &file[*settings]{path: resolvPath, parse: parseSettings}
	}
	s.look = s.lookUp
	return s
}

func (s *source) Key() string { return s.key }

func (s *source) Ask(ctx context.Context) ([]discovery.Found, error) {
	a, err := s.look(ctx, nil)
	if err != nil {
		return nil, err
	}
	if a.reason != "" {
		return nil, discovery.Warnings{"it has no backends now: " + a.reason}
	}
	return a.found, nil
}

func (s *source) Run(ctx context.Context, report func(discovery.Report)) {
	var before map[question]bool
	var retry discovery.Retry
	for {
		a, err := s.look(ctx, before)
		if ctx.Err() != nil {
			return
		}
		pause := s.pause(a, err, &retry)
		r := discovery.Report{Err: err, Next: time.Now().Add(pause)}
		if err == nil {
			before = a.had
			r.Found, r.Warnings, r.Reason = a.found, a.warnings, a.reason
		}
		report(r)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// pause returns the time to the next look-up: while the answer is good, and less while some of it is missing.
func (s *source) pause(a *answer, err error, retry *discovery.Retry) time.Duration {
	if err != nil {
		return min(retry.Failed(), s.config.MaxTTL)
	}
	pause := max(min(a.ttl, s.config.MaxTTL), s.config.MinTTL)
	if a.partial {
		return min(pause, max(retry.Failed(), s.config.MinTTL))
	}
	retry.Answered()
	return pause
}

// lookUp asks for everything that makes one answer. What had records at the last one is in before.
func (s *source) lookUp(ctx context.Context, before map[question]bool) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, mostTime)
	defer cancel()
	c := &s.config
	to, names := s.whom()
	if len(names) == 0 {
		return nil, fmt.Errorf("look up %s: not a name that DNS can have", c.Name)
	}
	l := newLookup(&s.resolver, to, before)
	switch {
	case c.AsksSRV():
		l.services(ctx, names, c.Port)
	case s.known(l):
		l.positive = hostsPause
	default:
		l.addresses(ctx, names, c.kinds(), c.Port)
	}
	if err := l.end(); err != nil {
		return nil, err
	}
	a := &answer{found: found(l.places), ttl: l.ttl(), had: l.had, partial: len(l.failed) > 0, warnings: l.warnings}
	if len(a.found) == 0 {
		a.reason = strings.Join(reasons(l.none), "; ")
	}
	return a, nil
}

// whom returns who is asked and for which names. Resolvers that are given have no search list: the name is whole.
func (s *source) whom() (*servers, []string) {
	if s.settings != nil {
		system := s.settings.get()
		return &system.servers, system.names(s.config.Name)
	}
	own := &settings{servers: servers{list: s.config.Resolvers, timeout: ownTimeout, attempts: ownAttempts}}
	return &own.servers, own.names(s.config.Name)
}

// known takes the addresses from the hosts file, and reports whether it has any.
func (s *source) known(l *lookup) bool {
	if s.hosts == nil {
		return false
	}
	has := false
	for _, a := range s.hosts.get() {
		kind := miekg.TypeAAAA
		if a.Is4() {
			kind = miekg.TypeA
		}
		if slices.Contains(s.config.kinds(), kind) {
			l.add(s.config.Name, place{at: netip.AddrPortFrom(a, s.config.Port)})
			has = true
		}
	}
	return has
}

// kinds returns the types of records that have the addresses of a name.
func (c *Config) kinds() []uint16 {
	switch c.Type {
	case A:
		return []uint16{miekg.TypeA}
	case AAAA:
		return []uint16{miekg.TypeAAAA}
	}
	return []uint16{miekg.TypeA, miekg.TypeAAAA}
}
