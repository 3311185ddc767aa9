package health

import (
	"log/slog"
	"strings"
)

// spareLagging lets replicas serve that lag more than MaxLag when nobody else is left who could: old data is better than
// none. It reports whether that is so. Nobody is spared before everybody has been asked once.
func spareLagging(facts []fact, verdicts []verdict) (spared bool) {
	for i, v := range verdicts {
		if v.up && facts[i].wanted {
			return false
		}
	}
	if _, waits := unheard(facts); waits {
		return false
	}
	for i := range verdicts {
		if v := &verdicts[i]; v.cause == CauseLagging {
			*v, spared = verdict{up: true, spared: v.reason}, true
		}
	}
	return spared
}

// lookLagging notices when replicas begin or cease to serve although they lag. The mutex is held.
func (m *Monitor) lookLagging(w *poolWatch, facts []fact, verdicts []verdict) {
	var reasons []string
	for i, v := range verdicts {
		if v.spared != "" {
			reasons = append(reasons, facts[i].name+" "+v.spared)
		}
	}
	lags := len(reasons) > 0
	if lags == w.lags {
		return
	}
	w.lags = lags
	pool := slog.String("pool", w.pool.Name())
	if lags {
		m.say(slog.LevelWarn, "every replica lags more than max_lag: they serve all the same", pool,
			slog.String("reason", strings.Join(reasons, ", ")))
		return
	}
	m.say(slog.LevelInfo, "max_lag is heeded again", pool)
}
