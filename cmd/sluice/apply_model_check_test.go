package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"sluice/cmd/sluice/internal/overrides"
	"sluice/configs"
	"sluice/pool"
)

// check holds everything against the model.
func (p *applyPlay) check() {
	p.checkBlurred()
	for _, s := range p.sessions { // whatever has changed, they go on
		if !s.served {
			continue
		}
		if said := p.say(s, fmt.Sprint(p.step)); said != fmt.Sprintln(p.step) {
			p.failf("a session of pool %s on %+v received %q", s.pool.name, s.backend, said)
		}
	}
	p.until(func() (string, bool) {
		got, want := describeWorld(p.w, true), p.describe(true)
		return fmt.Sprintf("\ngot\n%s\nwant\n%s", got, want), got == want
	})
	if p.changed {
		p.checkAsked()
		p.changed = false
	}
}

// until waits for what must come to hold: sessions that were closed are gone in a moment, and a check finds out.
func (p *applyPlay) until(holds func() (state string, ok bool)) {
	p.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		state, ok := holds()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			p.failf("%s", state)
		}
	}
}

// checkBlurred serves those who wait in pools of which it was not certain for a moment who was well: at least as many as
// what is known in the end says, from the first on. Others are served by then.
func (p *applyPlay) checkBlurred() {
	for one := range p.blurred {
		p.until(func() (string, bool) {
			is := p.w.now.Load().pool(one.name)
			if is.Waiting() > len(one.waiting) || p.usableOf(is) != p.describeUsable(one) {
				return fmt.Sprintf("pool %s: usable %s, want %s; %d wait, want at most %d", one.name, p.usableOf(is), p.describeUsable(one),
					is.Waiting(), len(one.waiting)), false
			}
			return "", true
		})
		p.until(func() (string, bool) {
			for waiting := p.w.now.Load().pool(one.name).Waiting(); len(one.waiting) > waiting; {
				p.serveFirst(one)
			}
			return fmt.Sprintf("pool %s: %d wait, and there is room", one.name, len(one.waiting)),
				len(one.waiting) == 0 || !slices.ContainsFunc(p.able(one), one.hasRoom)
		})
	}
	clear(p.blurred)
}

func (p *applyPlay) usableOf(is *pool.Pool) (text string) {
	for _, b := range is.Backends() {
		text += fmt.Sprintf(" %s=%t", b.Name(), b.Usable())
	}
	return text
}

func (p *applyPlay) describeUsable(one *modelPool) (text string) {
	able := p.able(one)
	for _, b := range one.rules.backends {
		text += fmt.Sprintf(" %s=%t", b.name, slices.Contains(able, b))
	}
	return text
}

// wanted returns the questions that are to be asked: each backend's, but of those in maintenance.
func (p *applyPlay) wanted() map[question]bool {
	all := make(map[question]bool)
	for _, one := range p.pools {
		for _, b := range one.rules.backends {
			if one.rules.way != "" && b.state != pool.Maint {
				all[question{b.server, fmt.Sprintf("/%d/%s", p.seed, one.rules.way)}] = true
			}
		}
	}
	return all
}

// checkAsked waits until those are asked who are to be asked, twice, and nobody else.
func (p *applyPlay) checkAsked() {
	wanted, before := p.wanted(), p.servers.askedOf(p.seed)
	p.until(func() (string, bool) {
		now := p.servers.askedOf(p.seed)
		for q := range wanted {
			if now[q] < before[q]+2 {
				return fmt.Sprintf("%+v is not asked", q), false
			}
		}
		for q, n := range now {
			if n != before[q] && !wanted[q] {
				before = now // it may have been the last time
				return fmt.Sprintf("%+v is asked, and wanted are %+v", q, wanted), false
			}
		}
		return "", true
	})
}

// checkAskedOnce waits until well servers have been asked a few times, and holds how often they were against how often
// each backend has heard of it: backends share an answer.
func (p *applyPlay) checkAskedOnce() {
	const enough = 8
	before, heard := p.servers.askedOf(p.seed), p.heard()
	p.until(func() (string, bool) {
		asked, now := p.servers.askedOf(p.seed), p.heard()
		for b, n := range now {
			times, was := asked[b.question]-before[b.question], n-heard[b]
			if was < enough || times > was+2 {
				return fmt.Sprintf("%+v was asked %d times, %s has heard of %d", b.question, times, b.backend, was), false
			}
		}
		return "", true
	})
}

type hearing struct {
	backend string
	question
}

// heard returns how many answers in a row backends have heard of that are well, and are asked.
func (p *applyPlay) heard() map[hearing]int {
	all, wanted := make(map[hearing]int), p.wanted()
	for _, one := range p.w.admin.Status().Pools {
		m := p.pools[one.Name]
		for i, b := range m.rules.backends {
			q := question{b.server, fmt.Sprintf("/%d/%s", p.seed, m.rules.way)}
			if wanted[q] && b.state != pool.Maint && !p.isDown(m, b) {
				all[hearing{one.Name + "/" + b.name, q}] = one.Backends[i].Check.Successes
			}
		}
	}
	return all
}

// checkReplay makes a world of what is in force alone.
func (p *applyPlay) checkReplay() {
	p.did = "the end of all"
	for len(p.sessions) > 0 {
		p.endSome()
		p.check()
	}
	g := p.w.now.Load()
	if err := p.w.server.Shutdown(context.Background()); err != nil {
		p.failf("%v", err)
	}
	log := slog.New(slog.DiscardHandler)
	out := openLogWriter(io.Discard, log)
	defer out.close()
	again, err := newWorld(g.file, log, out, bindAdvice{})
	if err != nil {
		p.failf("%v", err)
	}
	defer again.release()
	if _, err := again.apply(false, func(*generation) (*configs.File, overrides.Set, error) { return g.file, g.set, nil }); err != nil {
		p.failf("%v", err)
	}
	if got, want := describeWorld(again, false), p.describe(false); got != want {
		p.failf("from nothing:\ngot\n%s\nwant\n%s", got, want)
	}
}
