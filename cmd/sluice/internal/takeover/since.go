package takeover

import (
	"maps"

	"sluice/pool"
)

// Since returns what was counted from one time to a later one.
func Since(before, now []pool.BackendCounters) []pool.BackendCounters {
	var since []pool.BackendCounters
	for _, c := range now {
		for i := range before {
			if b := &before[i]; b.Name == c.Name && b.Address == c.Address {
				c.Received -= b.Received
				c.Sent -= b.Sent
				c.Dials, c.Obstacles = less(c.Dials, b.Dials), less(c.Obstacles, b.Obstacles)
			}
		}
		since = append(since, c)
	}
	return since
}

func less(now, before map[string]uint64) map[string]uint64 {
	now = maps.Clone(now)
	for word := range now {
		now[word] -= before[word]
	}
	return now
}
