package docker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"sluice/pool/discovery"
)

// State is what is known of an engine's containers.
type State struct {
	Containers []Container // those that run or are paused, the oldest first; not changed any more. Meaningless with Err
	Err        error       // why they are not known; nil: they are
	Next       time.Time   // when the engine is asked again after Err
}

// An engine is the one connection to a Docker Engine that all share who follow it.
type engine struct {
	client *client
	end    context.CancelFunc
	ended  chan struct{}

	mu       sync.Mutex
	state    *State        // nil = nothing is known yet
	changed  chan struct{} // closed when there is another state
	sharedBy int           // guarded by engines.mu

	// Of the goroutine that runs it.
	marks marks
	since time.Time // of the last event, by the engine's clock
}

// engines are those that are followed, by socket.
var engines = struct {
	mu   sync.Mutex
	open map[string]*engine
}{open: make(map[string]*engine)}

// Follow tells what is known of an engine's containers, first as soon as there is something and then whenever it may be
// something else, until ctx is done. It never gives up.
func Follow(ctx context.Context, socket string, hear func(State)) {
	e := join(socket)
	defer e.leave(socket)
	for {
		state, changed := e.current()
		if state != nil {
			hear(*state)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		if ctx.Err() != nil { // both may be ready
			return
		}
	}
}

// List returns the containers of an engine as they are now. It knows nothing of those that are about to end.
func List(ctx context.Context, socket string) ([]Container, error) {
	c := newClient(socket)
	defer c.close()
	err := c.negotiate(ctx)
	if err != nil {
		return nil, engineError(socket, err)
	}
	all, err := c.list(ctx)
	if err != nil {
		return nil, engineError(socket, err)
	}
	marks(nil).judge(all)
	return all, nil
}

func engineError(socket string, err error) error {
	return fmt.Errorf("ask Docker Engine at %s: %w", socket, err)
}

func join(socket string) *engine {
	engines.mu.Lock()
	defer engines.mu.Unlock()
	e := engines.open[socket]
	if e == nil {
		ctx, cancel := context.WithCancel(context.Background())
		e = &engine{
			client: newClient(socket), end: cancel, ended: make(chan struct{}), changed: make(chan struct{}), marks: make(marks),
		}
		engines.open[socket] = e
		go func() {
			defer close(e.ended)
			e.run(ctx)
		}()
	}
	e.sharedBy++
	return e
}

// leave ends the connection with the last one who shares it.
func (e *engine) leave(socket string) {
	engines.mu.Lock()
	e.sharedBy--
	last := e.sharedBy == 0
	if last {
		delete(engines.open, socket)
	}
	engines.mu.Unlock()
	if last {
		e.end()
		<-e.ended
	}
}

func (e *engine) current() (*State, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state, e.changed
}

func (e *engine) publish(s State) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state = &s
	close(e.changed)
	e.changed = make(chan struct{})
}

// run keeps up a connection to the engine until ctx is done. One that has lasted and is lost is made again at once: a proxy
// in between may have had enough, and that is no news. What is known stays until that fails.
func (e *engine) run(ctx context.Context) {
	defer e.client.close()
	var retry discovery.Retry
	for {
		began := time.Now()
		answered, err := follow(ctx, e)
		if ctx.Err() != nil {
			return
		}
		if answered {
			retry.Answered()
			if time.Since(began) > discovery.FirstRetry {
				continue
			}
		}
		pause := e.atMost(retry.Failed())
		wait := time.NewTimer(pause)
		e.publish(State{Err: engineError(e.client.socket, err), Next: time.Now().Add(pause)})
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
	}
}

// lastLocalRetry is the longest pause before a socket of this machine is tried again. That costs microseconds, and while an
// engine restarts its containers get other addresses.
const lastLocalRetry = 2 * time.Second

func (e *engine) atMost(pause time.Duration) time.Duration {
	if strings.HasPrefix(e.client.socket, "tcp://") {
		return pause
	}
	return min(pause, lastLocalRetry)
}

// errStreamEnded is what a stream of events ends with when nothing else is wrong.
var errStreamEnded = errors.New("it has ended the stream of events")
