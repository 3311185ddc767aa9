package main

import (
	"io"
	"log/slog"

	"sluice/configs"
)

// newLogger returns the program's logger.
func newLogger(w io.Writer, c configs.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level}
	if c.Format == configs.FormatJSON {
		options.ReplaceAttr = secondsForMachines
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// secondsForMachines writes a duration as a number of seconds, the unit of the metrics. Package slog would write
// nanoseconds.
func secondsForMachines(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.Float64Value(a.Value.Duration().Seconds())
	}
	return a
}
