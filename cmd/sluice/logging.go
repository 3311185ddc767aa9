package main

import (
	"io"
	"log/slog"

	"sluice/configs"
)

// newLogger returns the program's logger and what it writes to, which must be closed at the very end.
func newLogger(out io.Writer, c configs.Log) (*slog.Logger, *logWriter) {
	level := new(slog.LevelVar)
	level.Set(c.Level)
	w := openLogWriter(out, slog.New(newLogHandler(out, c, level)))
	w.level = level
	return slog.New(newLogHandler(w, c, level)), w
}

func newLogHandler(w io.Writer, c configs.Log, level slog.Leveler) slog.Handler {
	options := &slog.HandlerOptions{Level: level}
	if c.Format == configs.FormatJSON {
		options.ReplaceAttr = secondsForMachines
		return slog.NewJSONHandler(w, options)
	}
	return slog.NewTextHandler(w, options)
}

// secondsForMachines writes a duration as a number of seconds, the unit of the metrics. Package slog would write
// nanoseconds.
func secondsForMachines(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.Float64Value(a.Value.Duration().Seconds())
	}
	return a
}
