package l4

import (
	"context"
	"net/netip"
	"time"
)

// SessionStats describes one open session.
type SessionStats struct {
	ID         uint64         `json:"id"`
	Listener   string         `json:"listener"`
	Pool       string         `json:"pool"`                  // "" while none is chosen
	Backend    string         `json:"backend"`               // "" while it has none
	State      string         `json:"state"`                 // read_header | read_hello | waiting | connecting | paused | answering | cancelling | relaying
	Client     netip.AddrPort `json:"-"`                     // as in End
	ServerName string         `json:"server_name,omitempty"` // as in End
	UniqueID   string         `json:"unique_id,omitempty"`   // as in End
	Age        time.Duration  `json:"-"`                     // since accept
	Idle       time.Duration  `json:"-"`                     // since a byte last moved, or was seen to be taken by its peer
	Received   uint64         `json:"received_bytes"`        // passed from the backend to the client
	Sent       uint64         `json:"sent_bytes"`            // passed to the backend, the PROXY header included

	slot int32
}

// idleShown is how long a session has been quiet before its list asks the kernel
// whether its peers still take in what they were sent.
const idleShown = time.Second

// VisitSessions calls visit with the open sessions, some hundreds at a time. It keeps no loop
// from its sessions, however many there are and however long visit takes. Sessions that begin
// or end meanwhile may be among them, none twice. The slice is good until visit returns; its
// error ends the visit and is returned. VisitSessions waits for the loops, so it must not be
// called on one.
func (srv *Server) VisitSessions(ctx context.Context, visit func([]SessionStats) error) error {
	chunk := make([]SessionStats, 0, walkSlots)
	for _, l := range srv.loops {
		for round, over := srv.walk(l, 0), false; !over; chunk = chunk[:0] {
			var err error
			over, err = round.step(ctx, func(s *session) bool {
				chunk = append(chunk, l.describe(s))
				return true
			})
			if err == nil && len(chunk) > 0 {
				err = visit(chunk)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *loop) describe(s *session) SessionStats {
	if s.state == stateRelaying && l.now-s.active >= idleShown {
		l.noteTaken(s)
	}
	stats := SessionStats{
		ID:         s.id,
		slot:       s.slot,
		Listener:   s.rules.listener.name,
		State:      s.state.String(),
		Client:     s.client,
		ServerName: s.serverName(),
		UniqueID:   l.server.uniqueIDOf(s),
		Age:        l.now + l.stalled - s.started,
		Idle:       l.now - s.active,
		Received:   s.halves[server].bytes,
		Sent:       s.halves[client].bytes,
	}
	if s.target != nil {
		stats.Pool = s.target.config.Pool.Name()
	}
	if s.backend != nil {
		stats.Backend = s.backend.Name()
	}
	return stats
}
