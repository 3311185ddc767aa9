package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/configs"
	"sluice/l4"
	"sluice/pool"
)

// TestResolver asks for a name that is unknown, then has an address that we listen on ourselves, then the server's.
func TestResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		newPool := func(name string, backends ...pool.BackendConfig) *pool.Pool {
			p, err := pool.New(pool.Config{Name: name, Backends: backends})
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		late := func(name string, port uint16) pool.BackendConfig {
			return pool.BackendConfig{Name: name, Host: "late.example", Weight: 1, Address: pool.Address{TCP: netip.AddrPortFrom(netip.Addr{}, port)}}
		}
		one, two := newPool("one", late("a", 80)), newPool("two", late("a", 80), late("b", 81))
		own := pool.Address{TCP: netip.MustParseAddrPort("127.0.0.1:80")}
		w := &world{log: slog.New(slog.DiscardHandler)}
		pools := []*pool.Pool{one, two}
		w.now.Store(&generation{
			pools: pools,
			force: &configs.File{Listeners: []configs.Listener{{ListenerConfig: l4.ListenerConfig{Name: "web", Bind: []pool.Address{own}}}}},
		})
		r := newResolver(w)
		answers := make(chan string)
		r.resolve = func(ctx context.Context, host string) (netip.Addr, error) {
			if host != "late.example" {
				return netip.Addr{}, fmt.Errorf("asked for %s", host)
			}
			answer := <-answers
			if answer == "" {
				return netip.Addr{}, errors.New("no such host")
			}
			return netip.MustParseAddr(answer), nil
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer w.checks.Wait()
		defer cancel()
		r.start(ctx)

		a := one.Backends()[0]
		answers <- ""
		synctest.Wait()
		if a.Usable() || a.Lost() != "no such host" || a.Stats().Up {
			t.Errorf("%q, %+v", a.Lost(), a.Stats())
		}
		asked := time.Now()
		answers <- "127.0.0.1" // port 80 of it is ours, port 81 is not
		synctest.Wait()
		if waited := time.Since(asked); waited < resolveFirst*4/5 || waited > resolveFirst*6/5 {
			t.Errorf("asked again after %v", waited)
		}
		if want := `late.example is 127.0.0.1:80, an address that this sluice listens on itself (listener "web")`; a.Lost() != want {
			t.Error(a.Lost())
		}
		if other := two.Backends()[1]; !other.Usable() || other.Address().String() != "127.0.0.1:81" {
			t.Errorf("%q, %+v", other.Lost(), other.Stats())
		}
		answers <- "10.0.0.7"
		synctest.Wait()
		for _, p := range pools {
			if first := p.Backends()[0]; !first.Usable() || first.Address().String() != "10.0.0.7:80" {
				t.Errorf("%q, %+v", first.Lost(), first.Stats())
			}
		}
		if two.Backends()[1].Address().String() != "127.0.0.1:81" {
			t.Error("a backend that has an address got another one")
		}
	})
}

// TestResolverForgetsPools: names are not looked for on behalf of a pool that is gone, though its backends are still in it.
func TestResolverForgetsPools(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := pool.BackendConfig{Name: "a", Host: "late.example", Weight: 1, Address: pool.Address{TCP: netip.AddrPortFrom(netip.Addr{}, 80)}}
		p, err := pool.New(pool.Config{Name: "gone", Backends: []pool.BackendConfig{late}})
		if err != nil {
			t.Fatal(err)
		}
		w := &world{log: slog.New(slog.DiscardHandler)}
		w.now.Store(&generation{pools: []*pool.Pool{p}, force: &configs.File{}})
		r, asked := newResolver(w), new(atomic.Int64)
		r.resolve = func(context.Context, string) (netip.Addr, error) {
			asked.Add(1)
			return netip.Addr{}, errors.New("no such host")
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer w.checks.Wait()
		defer cancel()
		r.start(ctx)
		time.Sleep(time.Minute)
		if n := asked.Load(); n < 3 {
			t.Errorf("asked %d times", n)
		}
		w.now.Store(&generation{force: &configs.File{}})
		time.Sleep(time.Minute)
		synctest.Wait()
		last := asked.Load()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := asked.Load() - last; n != 0 || len(r.waiting) > 0 {
			t.Errorf("asked %d times more for %v", n, r.waiting)
		}
	})
}

func TestResolvePause(t *testing.T) {
	for failures, around := range []time.Duration{1: 1, 2: 2, 3: 4, 4: 8, 5: 16, 6: 30, 60: 30} {
		around *= time.Second
		if failures == 0 || around == 0 {
			continue
		}
		if p := resolvePause(failures); p < around*4/5 || p > around*6/5 {
			t.Errorf("after %d failures: %v", failures, p)
		}
	}
}

// TestNoRun: a machine without /run has no default control socket, which is no reason not to serve.
func TestNoRun(t *testing.T) {
	err := os.Mkdir(filepath.Join(t.TempDir(), "run", "sluice"), 0o755)
	if !denied(err) {
		t.Errorf("%v would end the program", err)
	}
	if err := os.WriteFile(filepath.Join(t.TempDir(), strings.Repeat("x", 300)), nil, 0o600); denied(err) {
		t.Errorf("%v is taken for a missing permission", err)
	}
}
