package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sluice/cmd/sluice/internal/systemd"
)

// statusEvery is how often the service manager is told how many sessions there are.
const statusEvery = 10 * time.Second

// lifeSigns tells the service manager how the world fares. Without a service manager it does nothing.
type lifeSigns struct {
	notifier *systemd.Notifier
	alive    func(context.Context) error // nil when every loop runs
	sessions func() int
	log      *slog.Logger

	doing atomic.Pointer[string] // what the status says besides the number of sessions
	told  string                 // the last status; of run
	gone  atomic.Bool            // it is another process's to tell
	mute  atomic.Bool            // the last word did not get through, and the log says so
}

func newLifeSigns(n *systemd.Notifier, alive func(context.Context) error, sessions func() int, log *slog.Logger) *lifeSigns {
	return &lifeSigns{notifier: n, alive: alive, sessions: sessions, log: log}
}

// start says that the world serves, and goes on to say that it lives until stop is called.
func (l *lifeSigns) start() (stop func()) {
	if l.notifier == nil {
		return func() {}
	}
	l.do("serving")
	l.tell(systemd.Ready, l.status())
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { l.run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// reloading says that the configuration is read again, until done is called.
func (l *lifeSigns) reloading() (done func()) {
	if l.notifier == nil {
		return func() {}
	}
	l.tell(systemd.Reloading())
	return func() { l.tell(systemd.Ready, l.status()) }
}

// leave says that the world is about to end, and what it does until then.
func (l *lifeSigns) leave(doing string) {
	if l.notifier != nil {
		l.do(doing)
		l.tell(systemd.Stopping, l.status())
	}
}

// handOver says which process is the service from now on; 0 = it is not known here. Nothing more is told.
func (l *lifeSigns) handOver(pid int) {
	if l.notifier == nil {
		return
	}
	if pid > 0 {
		l.tell(systemd.MainPID(pid), systemd.Ready, systemd.Status(fmt.Sprintf("serving, in process %d", pid)))
	}
	l.gone.Store(true)
}

func (l *lifeSigns) do(doing string) { l.doing.Store(&doing) }

// run shows that the world lives, as often as is asked for, and says now and then how many sessions there are.
func (l *lifeSigns) run(ctx context.Context) {
	report := time.NewTicker(statusEvery)
	defer report.Stop()
	var show <-chan time.Time // nil = nobody watches
	every := l.notifier.WatchdogInterval()
	if every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		show = ticker.C
	}
	for {
		select {
		case <-show:
			l.show(ctx, every)
		case <-report.C:
			l.report()
		case <-ctx.Done():
			return
		}
	}
}

// show says that the process lives when every loop does. Otherwise it says nothing, and in the end the service manager
// starts the service anew.
func (l *lifeSigns) show(ctx context.Context, patience time.Duration) {
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := l.alive(within); err == nil {
		l.tell(systemd.Alive)
	} else if ctx.Err() == nil {
		l.log.Error("no sign of life for the service manager's watchdog", "error", err, "after", patience)
	}
}

// report tells the status when it has changed.
func (l *lifeSigns) report() {
	if status := l.status(); string(status) != l.told {
		l.told = string(status)
		l.tell(status)
	}
}

func (l *lifeSigns) status() systemd.Line {
	n := l.sessions()
	plural := "s"
	if n == 1 {
		plural = ""
	}
	return systemd.Status(fmt.Sprintf("%s, %d session%s open", *l.doing.Load(), n, plural))
}

// tell tells lines, and logs the first failure of several.
func (l *lifeSigns) tell(lines ...systemd.Line) {
	if l.gone.Load() {
		return
	}
	err := l.notifier.Notify(lines...)
	if err != nil && !l.mute.Load() {
		l.log.Warn("the service manager is not told", "error", err)
	}
	l.mute.Store(err != nil)
}
