package probe

import "sluice/pool"

// Local reports whether a probe failed because of something on this side: descriptors, memory, a local port, or the full
// queue of a Unix socket. A balancer at its limits must not take that for the death of every backend.
func Local(err error) bool { return pool.ObstacleOf(err) != pool.NoObstacle }
