package l4

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/pool"
)

// visitors connect to addresses over and over, say something and leave.
type visitors struct {
	running sync.WaitGroup
	leave   atomic.Bool
	visits  atomic.Uint64
	waiting atomic.Int32
	failed  chan error
}

func visit(addresses []pool.Address) *visitors {
	v := &visitors{failed: make(chan error, len(addresses))}
	for _, a := range addresses {
		v.running.Go(func() {
			for !v.leave.Load() {
				if err := v.visit(a); err != nil {
					v.failed <- fmt.Errorf("visit %v: %w", a, err)
					return
				}
			}
		})
	}
	return v
}

func (v *visitors) visit(a pool.Address) error {
	c, err := net.Dial(a.Network(), strings.TrimPrefix(a.String(), "unix:"))
	if err != nil {
		return err
	}
	defer c.Close()
	v.visits.Add(1)
	v.waiting.Add(1)
	defer v.waiting.Add(-1)
	c.SetDeadline(time.Now().Add(patient))
	if _, err := io.WriteString(c, "hello"); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 5))
	return err
}

// Whatever the order in which hand-overs begin, fail and succeed: everybody who connects is served, by one server.
func TestHandOversAtRandom(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			backend := newEcho(t)
			defer backend.stop()
			config := ListenerConfig{Name: "test", Bind: []pool.Address{
				anyPort, {Unix: filepath.Join(t.TempDir(), "s")}, {Unix: "@sluice-departs-at-random"},
			}}
			config.Target.Pool = newPool(t, 2, 0, tcpAddress(backend.Addr()))
			now := startServer(t, 2, config.Target.Pool, config, nil)
			v := visit(now.Stats().Listeners[0].Addresses)
			accepts := uint64(0)
			for range 12 {
				d := depart(t, now)
				account := d.Account()
				if random.IntN(2) == 0 {
					eventually(t, "all of them wait", func() bool { return int(v.waiting.Load()) == len(config.Bind) || len(v.failed) > 0 })
				}
				if random.IntN(3) == 0 {
					d.Abandon()
					continue
				}
				next := must(New(Config{
					Loops: 1 + random.IntN(2), Hold: true, Listeners: []ListenerConfig{config}, Inherited: handed(t, now),
					Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
				}))
				if err := next.Assume(account); err != nil {
					t.Fatal(err)
				}
				if random.IntN(3) == 0 {
					next.Close()
					d.Abandon()
					continue
				}
				if err := next.Start(); err != nil {
					t.Fatal(err)
				}
				handOver(t, d, next)
				if err := now.Shutdown(t.Context()); err != nil {
					t.Fatal(err)
				}
				accepts += accepted(now)
				now = next
			}
			v.leave.Store(true)
			v.running.Wait()
			select {
			case err := <-v.failed:
				t.Error(err)
			default:
			}
			shutDown(t, now)
			if accepts += accepted(now); accepts != v.visits.Load() {
				t.Errorf("%d connections, %d were accepted", v.visits.Load(), accepts)
			}
		})
	}
}
