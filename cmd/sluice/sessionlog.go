package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/configs"
	"sluice/l4"
)

// sessionQueue is how many ended sessions may wait to be logged: a burst of some ten milliseconds at full speed.
const sessionQueue = 1024

// sessionLog makes one line per ended session, but not of every one in a flood of failures, see surplus. Event loops
// hand sessions over and go on: when lines are made more slowly than sessions end, some are dropped, and counted as the
// log's own drops are.
type sessionLog struct {
	log    *slog.Logger // never waits for whoever reads the log
	which  atomic.Value // configs.SessionLog
	drop   func()
	queue  chan l4.End   // never closed: after a fault, loops may outlive the log
	ending chan struct{} // closed: log what is left and return
	done   chan struct{} // closed: run has returned

	surplus *surplus
}

// openSessionLog returns a sessionLog that must be closed. drop is called on event loops for each line that is given
// up. listeners are the names of all.
func openSessionLog(log *slog.Logger, which configs.SessionLog, drop func(), listeners ...string) *sessionLog {
	s := &sessionLog{
		log: log, drop: drop,
		queue: make(chan l4.End, sessionQueue), ending: make(chan struct{}), done: make(chan struct{}),
	}
	which = visible(log, which)
	s.which.Store(which)
	s.surplus = newSurplus(which, listeners)
	go s.run()
	return s
}

// follow takes in what a configuration says of the log, whose level it has already, and which listeners there are.
func (s *sessionLog) follow(file *configs.File) {
	names := make([]string, len(file.Listeners))
	for i, l := range file.Listeners {
		names[i] = l.Name
	}
	which := visible(s.log, file.Log.Sessions)
	s.surplus.follow(which, names)
	s.which.Store(which)
}

// logged returns which sessions are.
func (s *sessionLog) logged() configs.SessionLog { return s.which.Load().(configs.SessionLog) }

// visible leaves out the sessions whose lines the log's level would hide: they would all be made for nothing.
func visible(log *slog.Logger, which configs.SessionLog) configs.SessionLog {
	switch {
	case !log.Enabled(context.Background(), slog.LevelWarn):
		return configs.SessionsOff
	case which == configs.SessionsAll && !log.Enabled(context.Background(), slog.LevelInfo):
		return configs.SessionsFailed
	}
	return which
}

// failed reports whether a session came to nothing. One whose client gave up while it waited for a backend has ended
// cleanly as connections go, but nobody has served it.
func failed(end *l4.End) bool {
	return !end.Reason.Clean() || end.Waited > 0 && end.Backend == ""
}

// ended takes a session. It is called on event loops and never blocks.
func (s *sessionLog) ended(end l4.End) {
	if which := s.logged(); which == configs.SessionsOff || which == configs.SessionsFailed && !failed(&end) {
		return
	}
	if failed(&end) && s.surplus.suppress(&end) {
		return
	}
	select {
	case s.queue <- end:
	default:
		s.drop()
	}
}

// wants reports whether a session that ends with a reason may have a line. It is called on event loops.
func (s *sessionLog) wants(reason l4.Reason) bool {
	switch s.logged() {
	case configs.SessionsOff:
		return false
	case configs.SessionsFailed:
		return !reason.Clean() && s.surplus.spare(reason)
	}
	return s.surplus.spare(reason)
}

// close logs what is left.
func (s *sessionLog) close() {
	close(s.ending)
	<-s.done
}

func (s *sessionLog) run() {
	defer close(s.done)
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case end := <-s.queue:
			s.logEnd(end)
		case <-second.C:
			s.surplus.tick(s.log)
		case <-s.ending:
			for range len(s.queue) { // not more: after a fault, loops may go on
				s.logEnd(<-s.queue)
			}
			s.surplus.report(s.log)
			return
		}
	}
}

// logEnd logs a failure as a warning, so that a log without everyday lines still has it.
func (s *sessionLog) logEnd(end l4.End) {
	level := slog.LevelWarn
	if !failed(&end) {
		level = slog.LevelInfo
	}
	s.log.LogAttrs(context.Background(), level, "session", sessionAttrs(end)...)
}

// sessionAttrs returns the fields of a session's line. Every line has the same ones up to retries, so that it can be
// searched and parsed by position. After them come local, tried, server_name, unique_id and error, each when there is
// one.
func sessionAttrs(end l4.End) []slog.Attr {
	attrs := append(make([]slog.Attr, 0, 15),
		slog.Uint64("id", end.ID),
		slog.String("listener", end.Listener),
		slog.String("pool", end.Pool),
		slog.String("backend", end.Backend),
		slog.String("client", admin.ClientText(end.Client)),
		slog.String("reason", end.Reason.String()),
		slog.Duration("duration", end.Duration),
		slog.Duration("waited", end.Waited),
		slog.Duration("connect", end.ConnectTime),
		slog.Uint64("received", end.Received),
		slog.Uint64("sent", end.Sent),
		slog.Int("retries", end.Retries),
	)
	if end.Local.IsValid() {
		attrs = append(attrs, slog.String("local", end.Local.String()))
	}
	if len(end.Tried) > 0 {
		attrs = append(attrs, slog.String("tried", triedText(end.Tried)))
	}
	if end.ServerName != "" {
		attrs = append(attrs, slog.String("server_name", end.ServerName))
	}
	if end.UniqueID != "" {
		attrs = append(attrs, slog.String("unique_id", end.UniqueID))
	}
	if end.Errno != 0 {
		attrs = append(attrs, slog.String("error", end.Errno.Error()))
	} else if end.Detail != "" {
		attrs = append(attrs, slog.String("error", end.Detail))
	}
	return attrs
}

// triedText writes the servers that failed a session: each with the reason, and after what time.
func triedText(tried []l4.Try) string {
	texts := make([]string, len(tried))
	for i, t := range tried {
		texts[i] = fmt.Sprintf("%s %v after %v", t.Backend, t.Reason, t.Took.Round(time.Microsecond))
		if t.Errno != 0 {
			texts[i] += " (" + t.Errno.Error() + ")"
		}
	}
	return strings.Join(texts, ", ")
}
