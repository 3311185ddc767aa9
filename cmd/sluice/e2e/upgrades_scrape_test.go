package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// upgradesCount is how many sessions there are: by listener, by pool where they have or get a backend, and by pool where they wait.
type upgradesCount struct{ listeners, pools, waiting map[string]int }

// count is what there is while the plan's sessions are open.
func (p *upgradesPlan) count(bulk int) upgradesCount {
	return upgradesCount{
		listeners: map[string]int{
			"tcp": p.tcp, "unix": p.unix, "told": p.told + p.hesitant, "tls": p.tls + p.hesitant, "half": p.halves, "bulk": bulk,
			"few": p.few + p.queued, "stuck": p.stuck,
		},
		pools: map[string]int{
			"tcp": p.tcp, "unix": p.unix, "told": p.told, "tls-a": p.tls / 2, "tls-b": p.tls - p.tls/2, "half": p.halves,
			"bulk": bulk, "few": p.few, "stuck": p.stuck,
		},
		waiting: map[string]int{"few": p.queued},
	}
}

// sessions is the sum.
func (c *upgradesCount) sessions() (n int) {
	for _, sessions := range c.listeners {
		n += sessions
	}
	return n
}

// inStatus returns an error unless a status has exactly that.
func (c *upgradesCount) inStatus(s status) error {
	got := upgradesCount{make(map[string]int), make(map[string]int), make(map[string]int)}
	for _, l := range s.Listeners {
		if _, ok := c.listeners[l.Name]; ok {
			got.listeners[l.Name] = l.Sessions
		}
	}
	for _, p := range s.Pools {
		if _, ok := c.pools[p.Name]; ok {
			got.pools[p.Name] = p.Backends[0].Active
		}
		if _, ok := c.waiting[p.Name]; ok {
			got.waiting[p.Name] = p.Waiting
		}
	}
	if !maps.Equal(got.listeners, c.listeners) || !maps.Equal(got.pools, c.pools) || !maps.Equal(got.waiting, c.waiting) {
		return fmt.Errorf("process %d shows %+v, want %+v", s.PID, got, *c)
	}
	return nil
}

// inMetrics returns an error unless the metrics have exactly that.
func (c *upgradesCount) inMetrics(values map[string]float64) error {
	check := func(counts map[string]int, format string) error {
		for name, want := range counts {
			series := strings.ReplaceAll(format, "NAME", name)
			if got, ok := values[series]; !ok || got != float64(want) {
				return fmt.Errorf("%s is %v (there: %t), want %d", series, got, ok, want)
			}
		}
		return nil
	}
	if err := check(c.listeners, `sluice_listener_sessions{listener="NAME"}`); err != nil {
		return err
	}
	if err := check(c.waiting, `sluice_pool_queue{pool="NAME"}`); err != nil {
		return err
	}
	return check(c.pools, `sluice_backend_connections{pool="NAME",backend="NAME"}`)
}

// onlyGrows reports whether a series can never become less. What is of one process is named process_ and go_.
func onlyGrows(series string) bool {
	name, _, _ := strings.Cut(series, "{")
	if !strings.HasPrefix(name, "sluice_") || changes(series) {
		return false
	}
	for _, end := range []string{"_total", "_count", "_sum", "_bucket"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// A scraper asks all the time, each time on a connection of its own. No question is refused or cut, and each answer is exact.
type scraper struct {
	r      *upgradesRig
	client http.Client
	before map[string]float64 // what only grows, as it was last
	count  atomic.Int64
}

func (r *upgradesRig) startScraping(l *upgradesLoad) *scraper {
	s := &scraper{r: r, before: make(map[string]float64)}
	s.client = http.Client{Timeout: patient, Transport: &http.Transport{DisableKeepAlives: true}}
	l.all.Go(func() {
		for l.rest(20 * time.Millisecond) {
			if err := s.scrape(); err != nil {
				l.t.Errorf("scrape %d: %v", s.count.Load(), err)
				return
			}
			s.count.Add(1)
		}
	})
	return s
}

func (s *scraper) scrape() error {
	text, err := s.get("/api/v1/status")
	if err != nil {
		return err
	}
	var now status
	if err := json.Unmarshal(text, &now); err != nil {
		return fmt.Errorf("%w: %s", err, text)
	}
	if err := s.r.constant.inStatus(now); err != nil {
		return err
	}
	if text, err = s.get("/metrics"); err != nil {
		return err
	}
	values, err := readMetrics(string(text))
	if err != nil {
		return err
	}
	if err := s.r.constant.inMetrics(values); err != nil {
		return err
	}
	return s.grows(values)
}

// grows checks that nothing has become less that only grows, nor has gone.
func (s *scraper) grows(values map[string]float64) error {
	for series, was := range s.before {
		if is, ok := values[series]; !ok || is < was {
			return fmt.Errorf("%s was %v and is %v (there: %t)", series, was, is, ok)
		}
	}
	for series, is := range values {
		if onlyGrows(series) {
			s.before[series] = is
		}
	}
	return nil
}

func (s *scraper) get(path string) ([]byte, error) {
	answer, err := s.client.Get("http://" + s.r.admin + path)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %s", path, answer.Status, text)
	}
	return text, err
}
