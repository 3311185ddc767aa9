package main

import (
	"fmt"
	"log/slog"
	"math"
	"slices"

	"sluice/cmd/sluice/internal/admin"
	"sluice/configs"
	"sluice/health/probe"
	"sluice/l4"
	"sluice/sysutil"
)

const (
	// descriptorsPerSession: the client's socket and the backend's.
	descriptorsPerSession = 2
	descriptorsPerPipe    = 2
)

// Descriptors for what is neither a session nor a pipe.
const (
	// descriptorsPerLoop: its epoll instance and the eventfd that wakes it.
	descriptorsPerLoop = 2
	// A check has one connection. One of Postgres that was too slow asks the server to cancel on a second one.
	descriptorsPerCheck         = 1
	descriptorsPerPostgresCheck = 2
	// adminDescriptors: the two listening sockets, and connections of scrapers and people.
	adminDescriptors = 2 + admin.TCPConns + admin.SocketConns
	// metricsDescriptors: the same for admin.metrics.
	metricsDescriptors = 1 + admin.TCPConns
	// cancelShare: where descriptors are few, cancel requests get no more than one in so many.
	cancelShare = 16
	// sourceDescriptors: a question under way to each of some resolvers, or a connection and what watches a file; and the
	// checks of so many backends as nobody knows that it will find.
	sourceDescriptors = 4
	foundBackends     = 16
	// programDescriptors: standard input, output and the log; the runtime's epoll instance and eventfd; /proc for a
	// scrape and a file that is read again. The rest is slack.
	programDescriptors = 24
)

// raiseFileLimit makes room for as many sessions as the system grants, and returns how many descriptors that is; 0 =
// unknown. A system that does not let itself be asked is no reason not to serve.
func raiseFileLimit(log *slog.Logger) uint64 {
	files, err := sysutil.RaiseFileLimit()
	if err == nil {
		return files
	}
	log.Warn("descriptor limit stays as it is", "error", err)
	if files, err = sysutil.FileLimit(); err != nil {
		log.Warn("descriptor limit is unknown: the number of sessions is not limited by it", "error", err)
		return 0
	}
	return files
}

// limitsOf says what a process with so many descriptors can do while every pipe is open, and everything else that
// needs descriptors has them: the admin API, metrics and health checks must go on when no further session fits.
func limitsOf(file *configs.File, loops int, files uint64, pipes int) admin.Limits {
	limits := admin.Limits{Descriptors: files, Reserved: reserveOf(file, loops, files)}
	if files == 0 {
		return limits
	}
	taken := limits.Reserved + descriptorsPerPipe*uint64(pipes)
	left := files - min(files, taken)
	// A process that serves nobody is of no use.
	limits.Sessions = int(min(max(left/descriptorsPerSession, 1), math.MaxInt32))
	return limits
}

// reserveOf returns how many of the descriptors are kept for what is neither a session nor a pipe.
func reserveOf(file *configs.File, loops int, files uint64) uint64 {
	n := programDescriptors + adminDescriptors + descriptorsPerLoop*loops
	if file.Admin.Metrics != "" {
		n += metricsDescriptors
	}
	for _, l := range file.Listeners {
		n += len(l.Bind) // a listening socket each
	}
	for _, p := range file.Pools {
		n += checkDescriptors(p.Health.Probe.Kind) * (len(p.Config.Backends) + foundBackends*len(p.Entries))
		n += sourceDescriptors * len(p.Entries)
	}
	return uint64(n + cancelsOf(file, files))
}

// cancelsOf returns how many cancel requests may be under way, each with a connection: the reserve is what l4 is told.
func cancelsOf(file *configs.File, files uint64) int {
	if !slices.ContainsFunc(file.Listeners, func(l configs.Listener) bool { return l.Protocol.HasCancels() }) {
		return 0
	}
	return maxCancels(files)
}

// maxCancels is how many there may be where there may be any: a listener that has some may come with any reload.
func maxCancels(files uint64) int {
	if files == 0 { // not known
		return l4.DefaultMaxCancels
	}
	return int(min(l4.DefaultMaxCancels, max(files/cancelShare, 1)))
}

// checkDescriptors is for the check of one backend.
func checkDescriptors(kind probe.Kind) int {
	switch kind {
	case probe.Off:
		return 0
	case probe.Postgres:
		return descriptorsPerPostgresCheck
	}
	return descriptorsPerCheck
}

// limitFields are the fields of a log line for the limits that a listener has.
func limitFields(l *configs.Listener) (fields []any) {
	if l.MaxSessions > 0 {
		fields = append(fields, "max_sessions", l.MaxSessions)
	}
	if c := l.PerClient; c.Sessions > 0 {
		fields = append(fields, "client_sessions", c.Sessions)
	}
	if c := l.PerClient; c.Rate > 0 {
		fields = append(fields, "client_rate", fmt.Sprintf("%g/s", c.Rate))
	}
	if c := l.PerClient; c.Burst > 0 {
		fields = append(fields, "client_burst", c.Burst)
	}
	return fields
}

// logLimits says what the process can do, and what was asked for beyond it: nothing is capped silently.
func logLimits(log *slog.Logger, file *configs.File, limits admin.Limits, loops int, pipes sysutil.PipePlan) {
	fields := []any{
		"descriptors", limits.Descriptors, "reserved", limits.Reserved, "sessions", limits.Sessions,
		"loops", loops, "pipes", pipes.Limit, "pipe_size", pipes.Size, "source_ports", sourcePorts(),
	}
	if pipes.Soft {
		fields = append(fields, "pipes_limited_by", "fs.pipe-user-pages-soft", "enough_is", sysutil.EnoughPipePages)
	}
	log.Info("limits", fields...)
	if limits.Descriptors == 0 {
		return
	}
	if need := limits.Reserved + descriptorsPerPipe*uint64(pipes.Limit) + descriptorsPerSession; limits.Descriptors < need {
		log.Warn("too few descriptors: checks and the admin API may be in want of some; raise the hard limit (LimitNOFILE=)",
			"descriptors", limits.Descriptors, "needed", need)
	}
	for _, l := range file.Listeners {
		if l.MaxSessions > limits.Sessions {
			log.Warn("max_sessions is more than the descriptors are enough for; raise the hard limit (LimitNOFILE=)",
				"listener", l.Name, "max_sessions", l.MaxSessions, "sessions", limits.Sessions)
		}
	}
}
