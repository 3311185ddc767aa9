package health

import "fmt"

// elect lets one of the servers that claim to be the primary be it, or none when that is not clear. It changes their
// verdicts, and that of an old primary that does not answer while another one has taken over.
func elect(facts []fact, verdicts []verdict, seen timelines) {
	latest := func(i int) bool { return facts[i].answer.Timeline == seen[facts[i].answer.System].Timeline }
	claims := yieldVanished(facts, verdicts, claimants(facts), latest)
	var tied []int // on the highest timeline of their cluster
	for _, i := range claims {
		if latest(i) {
			tied = append(tied, i)
		} else {
			verdicts[i] = verdict{cause: CauseDemoted, reason: staleReason(facts, i, seen)}
		}
	}
	if len(tied) > 1 || differ(facts, claims) {
		for _, i := range tied {
			verdicts[i] = verdict{cause: CauseSplit, reason: splitReason(facts, i, claims)}
		}
		return
	}
	if len(tied) == 0 || !verdicts[tied[0]].up {
		return
	}
	winner := tied[0]
	if name, ok := unheard(facts); ok && !facts[winner].before.up {
		verdicts[winner] = verdict{reason: "claims to be primary, and waits until " + name + " has been checked too"}
		return
	}
	succeed(facts, verdicts, winner)
}

// unheard returns a server whose first check has not ended: it may be the better primary. Without waiting for it, which
// takes one timeout at most, sluice would begin with whichever of two primaries answers first.
func unheard(facts []fact) (name string, ok bool) {
	for _, f := range facts {
		if !f.maint && !f.checks.decided && f.failure == "" {
			return f.name, true
		}
	}
	return "", false
}

// claimants returns the positions of the servers that claim to be the primary.
func claimants(facts []fact) (claims []int) {
	for i, f := range facts {
		if f.claims() {
			claims = append(claims, i)
		}
	}
	return claims
}

// differ reports whether the claimants are not all of one cluster.
func differ(facts []fact, claims []int) bool {
	for _, i := range claims {
		if facts[i].answer.System != facts[claims[0]].answer.System {
			return true
		}
	}
	return false
}

// succeed notes that servers which were the primary when they last answered are not any more: their silence is no
// reason to wait for them.
func succeed(facts []fact, verdicts []verdict, winner int) {
	for i, f := range facts {
		if verdicts[i].cause == CauseFailed && f.answer != nil && f.answer.Primary {
			verdicts[i].cause = CauseDemoted
			verdicts[i].reason = fmt.Sprintf("%s is the primary now%s, and this one does not answer: %s",
				facts[winner].name, facts[winner].onTimeline(), f.failure)
		}
	}
}

// onTimeline says on which timeline a server is, of those that have one.
func (f fact) onTimeline() string {
	if f.answer.Timeline == 0 {
		return ""
	}
	return fmt.Sprintf(", on timeline %d", f.answer.Timeline)
}

// staleReason says why a claim to be the primary is too old.
func staleReason(facts []fact, i int, seen timelines) string {
	a := facts[i].answer
	best := seen[a.System]
	for _, f := range facts {
		if f.claims() && f.answer.System == a.System && f.answer.Timeline == best.Timeline {
			return fmt.Sprintf("claims to be primary on timeline %d, %s is on timeline %d",
				a.Timeline, f.name, best.Timeline)
		}
	}
	return fmt.Sprintf("stale: claims to be primary on timeline %d, timeline %d was seen on %s",
		a.Timeline, best.Timeline, best.Backend)
}

// splitReason says with whom a server is at odds.
func splitReason(facts []fact, i int, claims []int) (reason string) {
	a := facts[i].answer
	for _, j := range claims {
		switch o := facts[j]; {
		case o.answer.System != a.System:
			return fmt.Sprintf("claims to be primary of the cluster with system identifier %d, %s of another one, %d",
				a.System, o.name, o.answer.System)
		case j != i && o.answer.Timeline == a.Timeline:
			reason = fmt.Sprintf("claims to be primary on timeline %d, and so does %s", a.Timeline, o.name)
		}
	}
	return reason
}

// splitBrain returns two servers that claim to be the primary at the same time; false: there are none. An old primary
// that was shut down, and a new one that was found before the old one was missed, are no split brain: each must have
// claimed it after the other did. Nor is one that nobody names any more. It begins when both answer, and goes on when one of them misses a check.
func splitBrain(facts []fact, was bool) (a, b fact, split bool) {
	for i := range facts {
		for j := range i {
			a, b = facts[j], facts[i]
			if a.claims() && b.claims() && !a.vanished && !b.vanished && (was || a.answering && b.answering) && overlap(a, b) {
				return a, b, true
			}
		}
	}
	return fact{}, fact{}, false
}

// overlap reports whether both servers were the primary at one time, as far as their answers tell.
func overlap(a, b fact) bool {
	return !a.asked.Before(b.primarySince) && !b.asked.Before(a.primarySince)
}
