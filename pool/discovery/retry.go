package discovery

import (
	"math/rand/v2"
	"time"
)

// First and last pause after a question that was not answered. Each is twice the one before, and a fifth more or less, so
// that instances that started together do not ask together.
const (
	FirstRetry = time.Second
	LastRetry  = 30 * time.Second
)

// Retry says how long a source waits before it tries again what went wrong. The zero Retry has seen nothing go wrong.
type Retry struct{ last time.Duration }

// Failed returns the pause before the next try, after one more that failed.
func (r *Retry) Failed() time.Duration {
	r.last = min(max(2*r.last, FirstRetry), LastRetry)
	return time.Duration(float64(r.last) * (0.8 + 0.4*rand.Float64()))
}

// Answered says that a try went well: the next one that fails is the first again.
func (r *Retry) Answered() { r.last = 0 }
