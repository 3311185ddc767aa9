package configs

import (
	"time"

	"sluice/health"
)

// An onDown is what on_down says: for every cause, and for single ones. The keys may come in any order, so who wins is
// settled when all were read.
type onDown struct {
	every                                     closeRule
	failed, demoted, promoted, lagging, maint closeRule
	drain, removed                            closeRule
}

// A closeRule is the part of a rule that was written; nil = it was not.
type closeRule struct {
	sessions *string
	grace    *time.Duration
	rate     *int
}

const (
	sessionsKeep  = "keep"
	sessionsClose = "close"
)

var closeRuleFields = fields[closeRule]{
	word("sessions", []string{sessionsKeep, sessionsClose}, assign, func(r *closeRule) *string { return fresh(&r.sessions) }),
	duration("grace", 0, func(r *closeRule) *time.Duration { return fresh(&r.grace) }),
	number("rate", 0, noLimit, func(r *closeRule) *int { return fresh(&r.rate) }),
}

// fresh makes room for a value that is there.
func fresh[T any](p **T) *T {
	*p = new(T)
	return *p
}

// apply puts what was written in place of a default.
func (r closeRule) apply(to *health.CloseRule) {
	if r.sessions != nil {
		to.Close = *r.sessions == sessionsClose
	}
	if r.grace != nil {
		to.Grace = *r.grace
	}
	if r.rate != nil {
		to.Rate = *r.rate
	}
}

// apply settles the rule of every cause. Who drains or removes a backend has chosen not to cut its sessions: what is to
// become of those of servers in general does not close them.
func (o onDown) apply(to *health.OnDown) {
	for _, c := range []struct {
		own closeRule
		to  *health.CloseRule
	}{
		{o.failed, &to.Failed}, {o.demoted, &to.Demoted}, {o.promoted, &to.Promoted}, {o.lagging, &to.Lagging},
		{o.maint, &to.Maint},
	} {
		o.every.apply(c.to)
		c.own.apply(c.to)
	}
	gentle := o.every
	gentle.sessions = nil
	gentle.apply(&to.Drain)
	gentle.apply(&to.Removed)
	o.drain.apply(&to.Drain)
	o.removed.apply(&to.Removed)
}

// forEvery returns the fields that hold for every cause.
func forEvery() (fs fields[onDown]) {
	for _, f := range closeRuleFields {
		fs = append(fs, field[onDown]{key: f.key, shape: f.shape, read: func(d *decoder, v value, to *onDown) { f.read(d, v, &to.every) }})
	}
	return fs
}

var onDownFields = append(forEvery(),
	section("failed", closeRuleFields, func(o *onDown) *closeRule { return &o.failed }),
	section("demoted", closeRuleFields, func(o *onDown) *closeRule { return &o.demoted }),
	section("promoted", closeRuleFields, func(o *onDown) *closeRule { return &o.promoted }),
	section("lagging", closeRuleFields, func(o *onDown) *closeRule { return &o.lagging }),
	section("maint", closeRuleFields, func(o *onDown) *closeRule { return &o.maint }),
	section("drain", closeRuleFields, func(o *onDown) *closeRule { return &o.drain }),
	section("removed", closeRuleFields, func(o *onDown) *closeRule { return &o.removed }),
)
