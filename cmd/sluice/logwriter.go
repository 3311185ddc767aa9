package main

import (
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// logQueue is how many lines may wait to be written: about a megabyte.
	logQueue = 4096
	// dropNotice bounds how often dropped lines are reported in the log, which has enough to do already.
	dropNotice = 10 * time.Second
	// flushTime bounds the wait for a log that nobody reads when the process ends.
	flushTime = time.Second
)

// logWriter puts lines into a queue and writes them on a goroutine of its own. Whoever logs goes on at once: a log
// collector that hangs must not hold up event loops, health checks or the end of the process. When the queue is full,
// lines are dropped, counted and reported.
type logWriter struct {
	out     io.Writer
	report  *slog.Logger   // writes to out, past the queue
	level   *slog.LevelVar // of the lines
	dropped atomic.Uint64  // lines, those that could not be written too
	queue   chan []byte    // never closed: there may be somebody who logs to the very end
	ending  chan struct{}  // closed: write what is left and return
	done    chan struct{}  // closed: run has returned

	reported   uint64 // of dropped; like reportedAt only run's
	reportedAt time.Time
}

// openLogWriter returns a logWriter that must be closed. report must write to out.
func openLogWriter(out io.Writer, report *slog.Logger) *logWriter {
	w := &logWriter{
		out: out, report: report, level: new(slog.LevelVar),
		queue: make(chan []byte, logQueue), ending: make(chan struct{}), done: make(chan struct{}),
	}
	go w.run()
	return w
}

// Write takes one line. It never blocks and never fails.
func (w *logWriter) Write(line []byte) (int, error) {
	select {
	case w.queue <- append([]byte(nil), line...): // the caller uses its memory again
	default:
		w.drop()
	}
	return len(line), nil
}

// drop counts a line that was given up, here or before it was even made, or that could not be written.
func (w *logWriter) drop() { w.dropped.Add(1) }

// linesDropped returns how many lines were given up.
func (w *logWriter) linesDropped() uint64 { return w.dropped.Load() }

// close writes what is left, for as long as somebody reads the log.
func (w *logWriter) close() {
	close(w.ending)
	select {
	case <-w.done:
	case <-time.After(flushTime):
	}
}

// run is the only goroutine that waits for the log.
func (w *logWriter) run() {
	defer close(w.done)
	for {
		select {
		case line := <-w.queue:
			w.writeLine(line)
			if time.Since(w.reportedAt) >= dropNotice {
				w.reportDrops()
			}
		case <-w.ending:
			for len(w.queue) > 0 {
				w.writeLine(<-w.queue)
			}
			w.reportDrops()
			return
		}
	}
}

func (w *logWriter) writeLine(line []byte) {
	if _, err := w.out.Write(line); err != nil { // the disk is full, or nobody reads any more
		w.drop()
	}
}

// reportDrops logs how many lines were dropped since the last report.
func (w *logWriter) reportDrops() {
	n := w.linesDropped()
	if n == w.reported {
		return
	}
	w.report.Warn("log lines dropped: the log is read too slowly, or cannot be written", "lines", n-w.reported)
	w.reported, w.reportedAt = n, time.Now()
}
