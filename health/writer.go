package health

import (
	"fmt"

	"sluice/health/probe"
)

// A server of MySQL is a primary when it is writable, and nothing numbers its promotions as the timeline does those of
// Postgres. What is known is who was the primary before, and whether somebody has made another one writable meanwhile.

// hearRole takes in what the backend's server says of itself. The mutex is held.
func (b *member) hearRole(a *probe.DatabaseAnswer) {
	was := b.said
	b.said, b.answer = a, a
	if a.ID == 0 {
		return
	}
	b.promoted = a.Primary && (b.promoted || was != nil && !was.Primary)
	for _, other := range b.pool.members { // what one says may tell what another one is
		other.lookRole()
	}
}

// lookRole finds out what role a server has in its pool. The mutex is held.
func (b *member) lookRole() {
	if b.answer = b.said; b.said == nil || !b.said.Primary || !b.onlyFollows() {
		return
	}
	replica := *b.said
	replica.Primary = false
	b.answer = &replica
}

// onlyFollows reports whether a writable server is a replica all the same, of another one of the pool: its read_only was
// forgotten. It is none when the other one is a replica of it in turn, or is gone and somebody has made this one writable.
func (b *member) onlyFollows() bool {
	for _, other := range b.pool.members {
		if s := other.said; s != nil && !other.maint && other != b && b.said.Source != 0 && s.ID == b.said.Source {
			return s.Source != b.said.ID && (b.said.Connected || !b.promoted)
		}
	}
	return false
}

// electWriter lets one of the writable servers be the primary, or none when that is not clear. The one that was it so far
// still is when an old primary comes back and is writable, but not when somebody has made a second one writable. It
// changes the verdicts of servers that claim to be the primary, and of an old one that does not answer.
func electWriter(facts []fact, verdicts []verdict) {
	claims := yieldVanished(facts, verdicts, claimants(facts), func(int) bool { return true })
	winner, clear := -1, len(claims) == 1
	if clear {
		winner = claims[0]
	}
	incumbents := 0
	for _, i := range claims {
		if facts[i].before.up {
			incumbents++
			winner, clear = i, incumbents == 1 // more than one in a pool that took any server until now
		}
	}
	for _, i := range claims {
		if i != winner && facts[i].promoted {
			clear = false
		}
	}
	for _, i := range claims {
		switch {
		case !clear:
			verdicts[i] = verdict{cause: CauseSplit, reason: rivalReason(facts, i, claims)}
		case i != winner:
			verdicts[i] = verdict{cause: CauseDemoted,
				reason: fmt.Sprintf("is writable, and %s was the primary before it came back", facts[winner].name)}
		}
	}
	if !clear || !verdicts[winner].up {
		return
	}
	if name, ok := unheard(facts); ok && !facts[winner].before.up {
		verdicts[winner] = verdict{reason: "is writable, and waits until " + name + " has been checked too"}
		return
	}
	succeed(facts, verdicts, winner)
}

// rivalReason says with whom a writable server is at odds.
func rivalReason(facts []fact, i int, claims []int) string {
	for _, j := range claims {
		if j != i {
			return fmt.Sprintf("is writable, and so is %s: set read_only on one of them", facts[j].name)
		}
	}
	return ""
}
