package l4

import (
	"fmt"
	"syscall"

	"sluice/l4/pgwire"
)

// A Postgres client that asks for encryption first does not show an error that comes as
// the answer: whoever is on the way could have put it there (CVE-2024-10977). libpq says
// that there was one, and no more. An error is shown after the client's start-up packet.
//
// "No" as the answer makes the client send that, or end where it wants encryption in any
// case (sslmode=require), and then it says that the server does not support it. Both are
// as if a server had been there only where its servers do say no. Anywhere else the names
// of user and database would be on the network in clear that never are, for whoever keeps
// the servers from being reached, and "does not support SSL" would be untrue. So that is
// the one case in which sluice says no in the place of a server; in every other the error
// is the answer.

// fail ends a session for which there is no server, or lets its client first say what it
// has to say before it can be told.
func (l *loop) fail(s *session, reason Reason, errno syscall.Errno) state {
	o := s.opening
	if o == nil || o.packet == nil || o.secured || !o.asksToEncrypt() || !s.target.neverEncrypts(o.kind) {
		return l.end(s, reason, errno)
	}
	if s.waits() {
		s.waited += l.waitOver(s)
		if b := s.target.config.Pool.Leave(&o.waiter); b != nil {
			b.Release()
		}
	}
	o.outcome, o.errno = reason, errno
	return l.answerPacket(s, pgwire.AnswerNo)
}

// failedBefore reports whether fail has said no to the client of s, and its next packet
// cannot lead to another pool.
func (s *session) failedBefore() bool {
	o := s.opening
	if o.kind == pgwire.Startup && s.rules.targets.byStartup {
		o.outcome = noReason
	}
	return o.outcome != noReason
}

// failAgain goes on with the next packet of a session that fail has said no to.
func (l *loop) failAgain(s *session) state {
	if o := s.opening; !o.asksToEncrypt() || !s.target.neverEncrypts(o.kind) {
		return l.end(s, o.outcome, o.errno)
	}
	return l.answerPacket(s, pgwire.AnswerNo)
}

// endReason is why a session ends. One that came to nothing ends for that reason, whatever
// its client makes of it.
func (s *session) endReason(reason Reason, errno syscall.Errno) (Reason, syscall.Errno) {
	if o := s.opening; o != nil && o.outcome != noReason && reasonTable[reason].byClient {
		return o.outcome, o.errno
	}
	return reason, errno
}

// postgresWord is the ErrorResponse for a session that came to nothing.
func (s *session) postgresWord(reason Reason) []byte {
	switch state := reasonTable[reason].sqlState; state {
	case "":
		return nil
	case pgwire.AdminShutdown:
		return pgwire.ErrorResponse(state, fmt.Sprintf("an operator has ended this session (%v)", reason))
	case pgwire.InvalidCatalogName:
		// Postgres knows no name of more than 63 bytes (NAMEDATALEN).
		return pgwire.ErrorResponse(state, fmt.Sprintf("no route for database %.64q and user %.64q",
			s.opening.key.Database, s.opening.key.User))
	default:
		return pgwire.ErrorResponse(state, fmt.Sprintf("no server of pool %q can take this session (%v)",
			s.target.config.Pool.Name(), reason))
	}
}
