package health

import (
	"fmt"
	"time"

	"sluice/health/probe"
)

// fact is what is known of one server when a pool makes up its mind about it.
type fact struct {
	name   string
	before verdict

	vanished bool       // nobody names it any more
	maint    bool       // the operator has it in maintenance: what it says does not count
	checks   checkState // does it answer?
	failure  string     // what was wrong with the last check; "" = nothing
	lag      checkState // does it keep up?
	wanted   bool       // the operator wants it to serve, and it is not ejected

	answer       *probe.DatabaseAnswer // the last one it gave; nil: none
	current      bool                  // it has not gone down since it gave that answer
	answering    bool                  // the last check gave it
	asked        time.Time             // when it was asked for that answer
	primarySince time.Time             // when it was asked for the first of its last answers that said primary

	promoted    bool          // it was seen read_only before it was writable
	behind      time.Duration // how much a replica lags
	behindKnown bool
}

// claims reports whether a server says that it is the primary.
func (f fact) claims() bool { return !f.maint && f.current && f.answer != nil && f.answer.Primary }

// verdict is what a pool makes of a server.
type verdict struct {
	up     bool
	backup bool // it serves only while there is no other kind, by its role
	cause  Cause
	reason string // why it is not up: one line for whoever looks at it at 3 a.m.
	spared string // why it would not be up if there were another; "" = it deserves to be
}

// standby reports whether a server waits for its turn: it answers, in a role that is not wanted now.
func (v verdict) standby() bool {
	return !v.up && (v.cause == CauseDemoted || v.cause == CausePromoted)
}

const notChecked = "not checked yet"

// judge makes up a pool's mind about servers: about all that it has when it compares them, else about any of them.
func judge(c Config, facts []fact, seen timelines) []verdict {
	verdicts := make([]verdict, len(facts))
	for i, f := range facts {
		verdicts[i] = f.judgeAlone(c)
	}
	if c.elects() {
		if c.Probe.Kind == probe.MySQL {
			electWriter(facts, verdicts)
		} else {
			elect(facts, verdicts, seen)
		}
		yieldKept(facts, verdicts)
	}
	if c.MaxLag > 0 {
		spareLagging(facts, verdicts)
	}
	return verdicts
}

// yieldKept takes down servers that are up by what was asked before when another one is up too: more than one is never
// the primary.
func yieldKept(facts []fact, verdicts []verdict) {
	up := 0
	for _, v := range verdicts {
		if v.up {
			up++
		}
	}
	for i, f := range facts {
		if up > 1 && verdicts[i].up && !f.checks.decided {
			verdicts[i] = verdict{reason: f.unknown()}
		}
	}
}

// judgeAlone makes up a pool's mind as far as the other servers do not matter.
func (f fact) judgeAlone(c Config) verdict {
	switch {
	case c.Probe.Kind == probe.Off:
		return verdict{up: true}
	case c.Judged() && f.maint:
		// It must be down when the operator lets it come back: who knows what it is by then.
		return verdict{cause: CauseMaint, reason: "in maintenance"}
	case c.Judged() && !f.checks.decided && !f.keeps():
		return verdict{reason: f.unknown()}
	case !f.checks.decided:
		return f.before
	case !f.checks.up:
		return verdict{cause: CauseFailed, reason: f.silence(c)}
	case c.Judged():
		return f.judgeRole(c)
	}
	return verdict{up: true}
}

// keeps reports whether a server's verdict stands, by what was asked before, until there are answers to what is asked now.
func (f fact) keeps() bool {
	return f.checks.patient && (f.before.up || f.before.cause != CauseNone && f.before.cause != CauseMaint)
}

// judgeRole makes up a pool's mind about a Postgres server that answers.
func (f fact) judgeRole(c Config) verdict {
	switch {
	case f.answer == nil:
		return verdict{cause: CauseFailed, reason: "does not say whether it is a primary or a replica"}
	case c.Role == RolePrimary && !f.answer.Primary:
		return verdict{cause: CauseDemoted, reason: "is a replica, the pool wants the primary"}
	case c.Role == RoleReplica && f.answer.Primary:
		return verdict{cause: CausePromoted, reason: "is the primary, the pool wants replicas"}
	case c.MaxLag > 0 && f.lag.decided && !f.lag.up:
		return verdict{cause: CauseLagging, reason: f.lagText(c)}
	}
	return verdict{up: true, backup: c.Role == RolePreferReplica && f.answer.Primary}
}

// unknown says why nothing is known of a server yet.
func (f fact) unknown() string {
	if f.failure != "" {
		return notChecked + ": " + f.failure
	}
	return notChecked
}

// silence says why a server counts as not answering.
func (f fact) silence(c Config) string {
	if f.checks.successes > 0 {
		return fmt.Sprintf("answers again, %d of %d checks so far", f.checks.successes, c.Rise)
	}
	return f.failure
}

// lagText says how a replica lags.
func (f fact) lagText(c Config) string {
	switch {
	case !f.behindKnown && f.answer.Trouble != "":
		return f.answer.Trouble
	case !f.behindKnown:
		return fmt.Sprintf("cannot tell how far it lags, the limit is %v", c.MaxLag)
	case f.behind > c.MaxLag:
		return fmt.Sprintf("lags %v, the limit is %v", f.behind.Round(time.Millisecond), c.MaxLag)
	}
	return fmt.Sprintf("lagged more than %v, keeps up again, %d of %d checks so far", c.MaxLag, f.lag.successes, c.Rise)
}
