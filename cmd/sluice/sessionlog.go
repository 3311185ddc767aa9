package main

import (
	"context"
	"log/slog"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/configs"
	"sluice/l4"
)

const (
	// sessionQueue is how many ended sessions may wait to be logged: a burst of some ten milliseconds at full speed.
	sessionQueue = 1024
	// dropNotice bounds how often dropped lines are reported in the log, which has enough to do already.
	dropNotice = 10 * time.Second
	// flushTime bounds the wait for a log that nobody reads when the process ends.
	flushTime = time.Second
)

// sessionLog writes one line per ended session. Event loops hand sessions over and go on: when the log is slower than
// they are, lines are dropped, counted and reported.
type sessionLog struct {
	log     *slog.Logger
	which   configs.SessionLog
	metrics *admin.Metrics // counts dropped lines
	queue   chan l4.End    // never closed: after a fault, loops may outlive the log
	ending  chan struct{}  // closed: write what is left and return
	done    chan struct{}  // closed: write has returned
}

// openSessionLog returns a sessionLog that must be closed.
func openSessionLog(log *slog.Logger, which configs.SessionLog, metrics *admin.Metrics) *sessionLog {
	if !log.Enabled(context.Background(), slog.LevelInfo) {
		which = configs.SessionsOff // it would all be made for nothing
	}
	s := &sessionLog{
		log: log, which: which, metrics: metrics,
		queue: make(chan l4.End, sessionQueue), ending: make(chan struct{}), done: make(chan struct{}),
	}
	go s.write()
	return s
}

// ended takes a session. It is called on event loops and never blocks.
func (s *sessionLog) ended(end l4.End) {
	if s.which == configs.SessionsOff || s.which == configs.SessionsFailed && end.Reason.Clean() {
		return
	}
	select {
	case s.queue <- end:
	default:
		s.metrics.LineDropped()
	}
}

// close writes what is left, for as long as somebody reads the log.
func (s *sessionLog) close() {
	close(s.ending)
	select {
	case <-s.done:
	case <-time.After(flushTime):
	}
}

// write is the only goroutine that waits for the log.
func (s *sessionLog) write() {
	defer close(s.done)
	var drops dropReport
	for {
		select {
		case end := <-s.queue:
			s.writeLine(end)
			if time.Since(drops.at) >= dropNotice {
				s.reportDrops(&drops)
			}
		case <-s.ending:
			for len(s.queue) > 0 {
				s.writeLine(<-s.queue)
			}
			s.reportDrops(&drops)
			return
		}
	}
}

func (s *sessionLog) writeLine(end l4.End) {
	s.log.LogAttrs(context.Background(), slog.LevelInfo, "session", sessionAttrs(end)...)
}

// dropReport is what has been said about dropped lines.
type dropReport struct {
	lines uint64
	at    time.Time
}

// reportDrops logs how many lines were dropped since the last report.
func (s *sessionLog) reportDrops(last *dropReport) {
	n := s.metrics.LinesDropped()
	if n == last.lines {
		return
	}
	s.log.Warn("session lines dropped: the log is slower than sessions end", "lines", n-last.lines)
	*last = dropReport{lines: n, at: time.Now()}
}

// sessionAttrs returns the fields of a session's line. Every line has the same ones, so that it can be searched and
// parsed by position; only error is left out when there is none.
func sessionAttrs(end l4.End) []slog.Attr {
	client := "unix"
	if end.Client.IsValid() {
		client = end.Client.String()
	}
	attrs := append(make([]slog.Attr, 0, 12),
		slog.Uint64("id", end.ID),
		slog.String("listener", end.Listener),
		slog.String("pool", end.Pool),
		slog.String("backend", end.Backend),
		slog.String("client", client),
		slog.String("reason", end.Reason.String()),
		slog.Duration("duration", end.Duration),
		slog.Duration("connect", end.ConnectTime),
		slog.Uint64("received", end.Received),
		slog.Uint64("sent", end.Sent),
		slog.Int("retries", end.Retries),
	)
	if end.Errno != 0 {
		attrs = append(attrs, slog.String("error", end.Errno.Error()))
	}
	return attrs
}
