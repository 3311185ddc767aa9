package main

import (
	"log/slog"

	"sluice/cmd/sluice/internal/admin"
	"sluice/sysutil"
)

// descriptorsPerSession: the client's socket and the backend's.
const descriptorsPerSession = 2

// raiseFileLimit makes room for as many sessions as the system grants, and returns how many descriptors that is. A
// system that does not let itself be asked is no reason not to serve.
func raiseFileLimit(log *slog.Logger) uint64 {
	files, err := sysutil.RaiseFileLimit()
	if err == nil {
		return files
	}
	log.Warn("descriptor limit stays as it is", "error", err)
	if files, err = sysutil.FileLimit(); err != nil {
		log.Warn("descriptor limit is unknown", "error", err)
	}
	return files
}

// limitsOf says what a process with so many descriptors can do while every pipe is open.
func limitsOf(files uint64, pipes int) admin.Limits {
	taken := min(files, 2*uint64(pipes))
	return admin.Limits{Descriptors: files, Sessions: (files - taken) / descriptorsPerSession}
}
