package dns

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/pool/discovery"
)

// An observer has the reports of a source that runs.
type observer struct {
	t       *testing.T
	reports chan discovery.Report
}

// observe runs the source of a name as a server has it, which is asked all the time.
func observe(t *testing.T, name string, server netip.AddrPort) *observer {
	t.Helper()
	c := DefaultConfig(name, 80)
	if c.AsksSRV() {
		c.Port = 0
	}
	c.Resolvers, c.MinTTL, c.MaxTTL = []netip.AddrPort{server}, 10*time.Millisecond, 30*time.Millisecond
	o := &observer{t, make(chan discovery.Report)}
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		New(c).Run(ctx, func(r discovery.Report) {
			select {
			case o.reports <- r:
			case <-ctx.Done():
			}
		})
	})
	t.Cleanup(func() { cancel(); ended.Wait() })
	return o
}

// until waits for an answer as text has it, or for an error that has the text in it.
func (o *observer) until(want string) {
	o.t.Helper()
	last := ""
	for end := time.After(patience); ; {
		select {
		case r := <-o.reports:
			last = text(&answer{found: r.Found}, r.Err)
			if last == want || r.Err != nil && strings.HasPrefix(want, "error: ") && strings.Contains(last, want[7:]) {
				return
			}
		case <-end:
			o.t.Fatalf("the last answer is %.300s, want %.300s", last, want)
		}
	}
}
