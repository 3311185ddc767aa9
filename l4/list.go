package l4

import (
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
}

// idleShown is how long a session has been quiet before its list asks the kernel
// whether its peers still take in what they were sent.
const idleShown = time.Second

// Sessions returns the open sessions, at most limit of them; 0 = all. It asks every
// loop, so it must not be called on one. Of a server that has ended there are none.
func (srv *Server) Sessions(limit int) []SessionStats {
	answers := make(chan []SessionStats, len(srv.loops))
	for _, l := range srv.loops {
		var list []SessionStats
		l.inbox.post(message{
			kind: visitSessions,
			visit: func(s *session) {
				if limit == 0 || len(list) < limit {
					list = append(list, l.describe(s))
				}
			},
			done: func() { answers <- list },
		})
	}
	var all []SessionStats
	for range srv.loops {
		select {
		case list := <-answers:
			all = append(all, list...)
		case <-srv.life.Done():
			return nil
		}
	}
	if limit > 0 && len(all) > limit {
		all = all[:limit]
	}
	return all
}

func (l *loop) describe(s *session) SessionStats {
	if s.state == stateRelaying && l.now-s.active >= idleShown {
		l.noteTaken(s)
	}
	stats := SessionStats{
		ID:         s.id,
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
