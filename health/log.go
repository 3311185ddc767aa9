package health

import (
	"context"
	"log/slog"

	"sluice/pool"
)

// say writes a line. The mutex is held, so that lines are in the order of what they report.
func (m *Monitor) say(level slog.Level, message string, attrs ...slog.Attr) {
	m.logger.LogAttrs(context.Background(), level, message, attrs...)
}

// backendAttrs returns the attributes that say which backend a line is about.
func backendAttrs(b *pool.Backend) slog.Attr {
	return slog.GroupAttrs("", slog.String("pool", b.Pool().Name()), slog.String("backend", b.Name()))
}

// sayVerdict reports a change of a backend's state. The mutex is held.
func (m *Monitor) sayVerdict(b *member, before, now verdict) {
	attrs := []slog.Attr{backendAttrs(b.backend)}
	if !now.up {
		attrs = append(attrs, slog.String("reason", now.reason), slog.String("cause", now.cause.String()))
	}
	if now.cause == CauseFailed {
		attrs = append(attrs, slog.Int("failures", b.target.checks.failures))
	}
	attrs = append(attrs, b.roleAttrs()...)
	switch {
	case now.up:
		m.say(slog.LevelInfo, "backend up", attrs...)
	case !before.up && before.cause != CauseNone:
		m.say(slog.LevelInfo, "backend still down", attrs...)
	case !before.up && now.standby() || now.cause == CauseMaint:
		m.say(slog.LevelInfo, "backend down", attrs...) // as it should be
	default:
		m.say(slog.LevelWarn, "backend down", attrs...)
	}
}

// roleAttrs returns what a backend's server says of its role, as far as that is known.
func (b *member) roleAttrs() []slog.Attr {
	if b.target == nil || !b.target.current || b.answer == nil {
		return nil
	}
	attrs := []slog.Attr{slog.String("role", roleOf(b.answer))}
	if b.answer.Primary && b.answer.Timeline > 0 {
		attrs = append(attrs, slog.Uint64("timeline", uint64(b.answer.Timeline)))
	}
	return attrs
}
