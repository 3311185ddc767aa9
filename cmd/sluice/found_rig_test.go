package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/configs"
	"sluice/pool"
	"sluice/pool/discovery"
)

// A scripted is a source that says what a test tells it to.
type scripted struct {
	key   string
	mu    sync.Mutex
	last  *discovery.Report // nil: it has not answered yet
	says  func(discovery.Report)
	ended bool
}

func (s *scripted) Key() string { return s.key }

func (s *scripted) Ask(context.Context) ([]discovery.Found, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		return nil, fmt.Errorf("%s does not answer", s.key)
	}
	return s.last.Found, s.last.Err
}

func (s *scripted) Run(ctx context.Context, report func(discovery.Report)) {
	s.mu.Lock()
	s.says = report
	if s.last != nil {
		report(*s.last)
	}
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.says, s.ended = nil, true
}

// say makes the source report, now or when it is asked.
func (s *scripted) say(r discovery.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last = &r; s.says != nil {
		s.says(r)
	}
}

// sources are those of a test, by key.
type sources struct {
	mu  sync.Mutex
	all map[string]*scripted
}

// source returns the source of a key, whether anybody has asked for it or not.
func (s *sources) source(key string) *scripted {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[string]*scripted)
	}
	if s.all[key] == nil {
		s.all[key] = &scripted{key: key}
	}
	return s.all[key]
}

// answers makes a source answer: each text is an address, perhaps with what the source says of it, as in 10.0.0.1:80,w2,backup.
func (s *sources) answers(key string, backends ...string) {
	r := discovery.Report{}
	for _, text := range backends {
		r.Found = append(r.Found, foundAt(text))
	}
	s.source(key).say(r)
}

// foundAt reads what answers takes.
func foundAt(text string) (f discovery.Found) {
	words := strings.Split(text, ",")
	if at, err := netip.ParseAddrPort(words[0]); err == nil {
		f.Address.TCP = at
	} else {
		host, port, _ := strings.Cut(words[0], ":")
		var n uint16
		_, _ = fmt.Sscan(port, &n)
		f.Host, f.Address = host, pool.Address{TCP: netip.AddrPortFrom(netip.Addr{}, n)}
	}
	for _, word := range words[1:] {
		var n int
		switch {
		case word == "backup":
			f.Backup = new(true)
		case strings.HasPrefix(word, "name="):
			f.Name = word[len("name="):]
		default:
			_, _ = fmt.Sscanf(word, "w%d", &n)
			f.Weight = &n
		}
	}
	return f
}

// newFoundRig is newApplyRig with sources that say what they are told to.
func newFoundRig(t *testing.T, text string) (*applyRig, *sources) {
	t.Helper()
	s := new(sources)
	r := &applyRig{T: t, dir: t.TempDir()}
	r.text.Store(text)
	file, err := r.parse()
	if err != nil {
		t.Fatal(err)
	}
	log, out := newLogger(io.Discard, file.Log)
	t.Cleanup(out.close)
	r.serve(file, log, out, bindAdvice{source: func(c configs.SourceConfig) discovery.Source { return s.source(c.Key()) }})
	return r, s
}

// serve makes the world and starts it.
func (r *applyRig) serve(file *configs.File, log *slog.Logger, out *logWriter, advice bindAdvice) {
	r.Helper()
	var err error
	if r.world, err = newWorld(file, log, out, advice); err != nil {
		r.Fatal(err)
	}
	r.read = r.parse
	if err := r.start(); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		if err := r.server.Shutdown(context.Background()); err != nil {
			r.Error(err)
		}
		r.stop()
	})
}

// backends describes what the pool p has.
func (r *applyRig) backends() string {
	var all []string
	for _, b := range r.now.Load().pool("p").Backends() {
		s := b.Stats()
		text := s.Name
		if address := s.Address.String(); address != s.Name {
			text += "=" + address
		}
		if s.Weight != 1 {
			text += fmt.Sprintf(",w%d", s.Weight)
		}
		if s.Backup {
			text += ",backup"
		}
		if s.State != pool.Ready {
			text += "," + s.State.String()
		}
		if s.Vanished {
			text += ",vanished"
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

// until waits for the pool p to have these backends.
func (r *applyRig) until(what, want string) {
	r.Helper()
	for deadline := time.Now().Add(time.Minute); r.backends() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.Fatalf("%s: backends %s, want %s", what, r.backends(), want)
		}
	}
}
