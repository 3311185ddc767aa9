package pool

import (
	"errors"
	"sluice/pool/words"
	"syscall"
)

// Obstacle is why a connection attempt could not be made though the server is not to blame: no evidence against it.
type Obstacle uint8

const (
	// NoObstacle: nothing on this side was in the way.
	NoObstacle Obstacle = iota
	// NoPort: no address of this machine has a port left for a connection there.
	NoPort
	// BacklogFull: the queue of a Unix socket has no room. The server is there, and behind with accepting.
	BacklogFull
	// NoResources: this process or machine is out of descriptors or memory.
	NoResources

	numObstacles
)

var obstacleWords = words.Table[Obstacle]{Type: "Obstacle", Words: []string{
	NoObstacle: "none", NoPort: "no_port", BacklogFull: "backlog_full", NoResources: "no_resources",
}}

// String returns the obstacle's word: "none", "no_port", "backlog_full" or "no_resources".
func (o Obstacle) String() string { return obstacleWords.Of(o) }

// Obstacles returns every obstacle but NoObstacle: what BackendStats.Obstacles counts.
func Obstacles() []Obstacle { return []Obstacle{NoPort, BacklogFull, NoResources} }

// errnoObstacles are the errors of connect(2), and of what comes before it, that are no evidence against a server.
var errnoObstacles = map[syscall.Errno]Obstacle{
	syscall.EADDRNOTAVAIL: NoPort,
	syscall.EADDRINUSE:    NoPort,
	syscall.EAGAIN:        BacklogFull,
	syscall.EMFILE:        NoResources,
	syscall.ENFILE:        NoResources,
	syscall.ENOBUFS:       NoResources,
	syscall.ENOMEM:        NoResources,
}

// ObstacleOf returns what an error of a connection attempt says was in the way. It is the one place that knows, for
// sessions and for health checks.
func ObstacleOf(err error) Obstacle {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errnoObstacles[errno]
	}
	return NoObstacle
}

// Obstructed counts a connection attempt that an obstacle was in the way of.
func (b *Backend) Obstructed(o Obstacle) { b.obstacles[o].Add(1) }
