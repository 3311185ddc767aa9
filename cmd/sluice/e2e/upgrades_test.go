package e2e

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// Upgrades in a row beneath sessions of all kinds that do something all the time, beside clients that come and go, pgbench, reloads
// and somebody who counts. Nobody notices: no session is reset, no byte is lost or comes twice, no transaction fails, no connect is
// refused, each count is exact whenever it is looked at, and in the end one process is left that takes what the first has taken.
func TestUpgrades(t *testing.T) {
	t.Parallel()
	r := startUpgrades(t)
	talks, talking := r.openTalks(), newUpgradesLoad(t)
	messages := talking.startTalking(talks)
	halves := r.openHalves()
	stuck := r.openStuck()
	goOn := r.hesitate()
	line := r.openLine()
	r.untilConstant(r.plan.count(0))
	before := r.footprint()

	bulk := r.openBulk()
	r.untilConstant(r.plan.count(r.plan.bulk))
	beside := newUpgradesLoad(t)
	short, reloads := r.startShort(beside), r.startReloading(beside)
	transactions, scrapes := r.startBenches(beside), r.startScraping(beside)
	began := time.Now()
	var times []upgradeTime
	for range r.plan.upgrades {
		served, scraped := short.served.Load(), scrapes.count.Load()
		times = append(times, r.upgradeOnce())
		until(t, "others are served, and count", func() error {
			if short.served.Load() < served+8 || scrapes.count.Load() < scraped+2 {
				return fmt.Errorf("%d sessions, %d scrapes", short.served.Load()-served, scrapes.count.Load()-scraped)
			}
			if t.Failed() {
				t.FailNow()
			}
			return nil
		})
	}
	took := time.Since(began)
	beside.stop()
	moved, left := r.expectMoved(r.plan.upgrades)
	r.peers.bulk.stop()
	bytes := r.closeStreams(bulk)
	r.untilIdleBut(r.plan.count(0))
	after := r.untilSame(before)
	r.expectOneProcess()

	talking.stop()
	r.peers.half.stop()
	bytes += r.closeStreams(halves)
	r.unstick(stuck)
	goOn()
	line.leave()
	leaveAll(t, talks)
	r.expectTransactions(transactions.Load())
	r.constant = r.plan.count(r.plan.bulk)
	r.expectWellEnded(short.served.Load())
	showTable(t, "Upgrades", fmt.Sprintf(`%d in %v beneath %d sessions: %v went over, %v could not at once
nothing accepted for %s; one session stood still for at most %s; in all %s (least, median, most)
%d messages came back, %.1f MiB in streams, %d transactions, %d short sessions (slowest %v), %d reloads (%d asked again), %d scrapes
before %v
after  %v`,
		r.plan.upgrades, took.Round(time.Millisecond), r.constant.sessions(), moved, left,
		spread(times, func(u upgradeTime) time.Duration { return u.accept }),
		spread(times, func(u upgradeTime) time.Duration { return u.session }),
		spread(times, func(u upgradeTime) time.Duration { return u.total }),
		messages.Load(), float64(bytes)/(1<<20), transactions.Load(), short.served.Load(),
		time.Duration(short.slowest.Load()).Round(time.Millisecond), reloads.done.Load(), reloads.refused.Load(), scrapes.count.Load(),
		before, after))
}

// untilIdleBut waits until there are those sessions and no others.
func (r *upgradesRig) untilIdleBut(c upgradesCount) {
	r.t.Helper()
	r.untilConstant(c)
	until(r.t, "no other sessions are there", func() error { return r.rig.open(c.sessions()) })
}

// leaveAll lets sessions say their last word, hear it, and end.
func leaveAll(t *testing.T, all []*dialogue) {
	t.Helper()
	var leaving sync.WaitGroup
	for first := range talkGroups {
		leaving.Go(func() {
			for i := first; i < len(all); i += talkGroups {
				if err := all[i].sayAndHear(); err != nil {
					t.Error(err)
				}
				if err := all[i].leave(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	leaving.Wait()
}
