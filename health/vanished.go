package health

import (
	"fmt"
	"slices"
)

// yieldVanished lets servers that nobody names any more give way: they are kept for their sessions, and are not to keep the
// pool from the primary that it has now. It returns the claims that count, and changes the verdicts of the others. As long as
// no server that is named may be the primary, all count: those that have vanished may be back at once. may reports that of a
// claim.
func yieldVanished(facts []fact, verdicts []verdict, claims []int, may func(i int) bool) []int {
	at := slices.IndexFunc(claims, func(i int) bool { return !facts[i].vanished && verdicts[i].up && may(i) })
	if at < 0 {
		return claims
	}
	heir := facts[claims[at]].name
	return slices.DeleteFunc(claims, func(i int) bool {
		if facts[i].vanished {
			verdicts[i] = verdict{cause: CauseDemoted, reason: fmt.Sprintf("claims to be primary, and so does %s, which has not vanished", heir)}
		}
		return facts[i].vanished
	})
}
