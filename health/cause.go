package health

import "slices"

// Cause is why a backend takes no sessions. OnDown has a rule for each but CauseSplit.
type Cause uint8

const (
	CauseNone     Cause = iota // it does take some, or nothing is known of it yet
	CauseFailed                // its checks fail
	CauseDemoted               // another server is the primary
	CausePromoted              // it is the primary, in a pool of replicas
	CauseLagging               // it lags more than MaxLag
	CauseSplit                 // it is not clear which of several servers is the primary
	CauseMaint                 // the operator has set it to maint
	CauseDrain                 // the operator has set it to drain
	CauseRemoved               // it is not in its pool any more, or its pool is not watched any more
)

var causeWords = []string{"", "failed", "demoted", "promoted", "lagging", "split", "maint", "drain", "removed"}

// String returns the cause's word: the key of its rule in a configuration, "split", or "" for CauseNone.
func (c Cause) String() string { return causeWords[c] }

// causeOf returns the cause of a word, and CauseNone for one that is not known.
func causeOf(word string) Cause { return Cause(max(0, slices.Index(causeWords, word))) }

// rule returns what is to be done with sessions for a cause. While it is not clear which server is the primary, every
// session may be one with the right one.
func (o OnDown) rule(c Cause) CloseRule {
	switch c {
	case CauseFailed:
		return o.Failed
	case CauseDemoted:
		return o.Demoted
	case CausePromoted:
		return o.Promoted
	case CauseLagging:
		return o.Lagging
	case CauseMaint:
		return o.Maint
	case CauseDrain:
		return o.Drain
	case CauseRemoved:
		return o.Removed
	}
	return CloseRule{}
}

// outFor returns why a backend takes no sessions. Of several causes it is the first whose rule closes them: a server that
// drains or was removed may be dead too, or not the primary any more, and its sessions with it. The mutex is held.
func (b *member) outFor() Cause {
	causes := [...]Cause{b.serverCause(), CauseNone, CauseNone}
	if b.removed {
		causes[1] = CauseRemoved
	}
	if b.drain {
		causes[2] = CauseDrain
	}
	out := CauseNone
	for _, c := range causes {
		switch {
		case b.pool.cfg.OnDown.rule(c).Close:
			return c
		case out == CauseNone:
			out = c
		}
	}
	return out
}

// serverCause returns why a backend may not take sessions, whether the operator wants it to take some or not. The mutex is
// held.
func (b *member) serverCause() Cause {
	switch {
	case b.maint:
		return CauseMaint // what its checks have said counts no more
	case b.verdict.up:
		return CauseNone
	}
	return b.verdict.cause
}
