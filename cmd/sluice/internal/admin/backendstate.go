package admin

import (
	"sluice/health"
	"sluice/pool"
)

// backendStates are the words for what decides whether a backend is given sessions.
var backendStates = []string{"up", "standby", "down", "ejected", "drain", "maint", "vanished"}

// stateOf returns the word that holds for a backend, the strongest reason first.
func stateOf(b pool.BackendStats, h health.Status) string {
	switch {
	case b.State != pool.Ready:
		return b.State.String()
	case b.Vanished:
		return "vanished"
	case !b.Up && h.Standby:
		return "standby"
	case !b.Up:
		return "down"
	case b.Ejected:
		return "ejected"
	}
	return "up"
}

// writeCertificates shows when the certificates end that checks have seen. A ServerHello does not show one, and a
// connection that is kept shows it once.
func (c *counters) writeCertificates(e *exposition, known []health.Status) {
	e.gauge("sluice_backend_certificate_end_timestamp_seconds", "When the server's certificate ends that a check saw last, in seconds since 1970.")
	for i, s := range c.backends {
		if ends := known[i].CertificateEnds; !ends.IsZero() {
			e.sample(s.labels, uint64(max(ends.Unix(), 0)))
		}
	}
}

// writeStates shows each state of each backend, 1 for the one it is in.
func (c *counters) writeStates(e *exposition, all []pool.BackendStats, known []health.Status) {
	e.gauge("sluice_backend_state", "1 for the state that the backend is in; standby: it answers, and its role is not wanted now.")
	for i, s := range c.backends {
		now := stateOf(all[i], known[i])
		for j, state := range backendStates {
			e.sample(s.states[j], flag(state == now))
		}
	}
}
