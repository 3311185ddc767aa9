package labels

import (
	"context"
	"slices"
	"sync"
	"time"

	"sluice/configs"
	"sluice/pool/discovery"
	"sluice/pool/discovery/docker"
)

// Labels are those of the containers of one engine, and the configuration that was made of them last. It is a source too, for
// what is known of sources: it finds no backends. It is safe for concurrent use.
type Labels struct {
	socket  string
	changed func()

	mu      sync.Mutex
	memory  memory
	failed  map[string]failure // addresses that could not be had, by the listener's name
	due     time.Time          // when a container or a failure is forgotten; zero: never
	last    reading            // what was read last
	force   reading            // what is in force
	problem string             // why what was read is not in force; "" = it is
	news    chan struct{}      // one place: there is something else to report
}

// reading is what a configuration was made of.
type reading struct {
	texts    []configs.SourceText // files
	digest   string               // of labels
	warnings []string             // what is wrong with containers
	served   map[string]bool      // pools of containers for which there is a listener
}

// failure is why a listener could not be made, and when.
type failure struct {
	why string
	at  time.Time
}

// failed listeners are tried again when this is over: another process may have ended.
const failedAgain = 30 * time.Second

// New returns the labels of an engine, of which nothing is known yet. changed is called when what they say is not what is in
// force: it must not block.
func New(socket string, changed func()) *Labels {
	return &Labels{socket: socket, changed: changed, failed: make(map[string]failure), news: make(chan struct{}, 1)}
}

// Load asks the engine once, for a start that is not to begin without listeners.
func (l *Labels) Load(ctx context.Context) error {
	all, err := docker.List(ctx, l.socket)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.memory.see(all, time.Now())
	return nil
}

// Read returns the configuration that the texts of files and the labels are. Whoever puts it in force says so by InForce.
func (l *Labels) Read(texts []configs.SourceText) (*configs.File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.read(texts)
}

// Again is Read with the texts that are in force: what somebody has written since is for the next reload.
func (l *Labels) Again() (*configs.File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.read(l.force.texts)
}

// InForce says what has become of what was read last: it is in force, or is not for the reason given.
func (l *Labels) InForce(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.problem = ""; err != nil {
		l.problem = "what labels say is not in force: " + err.Error()
	} else {
		l.force = l.last
	}
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// Beside is Read for texts that are only looked at.
func (l *Labels) Beside(texts []configs.SourceText) (*configs.File, error) {
	l.mu.Lock()
	all, failed := l.counting(time.Now())
	l.mu.Unlock()
	r, err := resolve(texts, l.socket, all, failed, configs.ParseTexts)
	if err != nil {
		return nil, err
	}
	return r.File, nil
}

// read is Read with the mutex held.
func (l *Labels) read(texts []configs.SourceText) (*configs.File, error) {
	all, failed := l.counting(time.Now())
	r, err := resolve(texts, l.socket, all, failed, configs.ParseTexts)
	if err != nil {
		return nil, err
	}
	l.last = reading{texts, digest(all, failed), r.Warnings, r.served}
	return r.File, nil
}

// counting returns the containers whose labels count at a time, and the listeners that cannot be made. The mutex is held.
func (l *Labels) counting(now time.Time) ([]docker.Container, map[string]string) {
	all, due := l.memory.all(now)
	failed := make(map[string]string)
	for name, f := range l.failed {
		end := f.at.Add(failedAgain)
		if !now.Before(end) {
			delete(l.failed, name)
			continue
		}
		failed[name] = f.why
		if due.IsZero() || end.Before(due) {
			due = end
		}
	}
	l.due = due
	return all, failed
}

// Fail says that a listener could not be made. It reports whether labels have made it: then what is read from now on is
// without.
func (l *Labels) Fail(listener string, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	all, failed := l.counting(time.Now())
	if _, known := failed[listener]; known || !newPlan(all, nil, nil, nil).has(listener) {
		return false
	}
	l.failed[listener] = failure{err.Error(), time.Now()}
	return true
}

// Key tells these labels from other sources.
func (l *Labels) Key() string { return "docker " + l.socket + " labels" }

// Ask returns no backends, and whether the engine answers.
func (l *Labels) Ask(ctx context.Context) ([]discovery.Found, error) {
	_, err := docker.List(ctx, l.socket)
	return nil, err
}

// Run follows the containers until ctx is done.
func (l *Labels) Run(ctx context.Context, report func(discovery.Report)) {
	states := make(chan docker.State)
	var follower sync.WaitGroup
	defer follower.Wait()
	follower.Go(func() {
		docker.Follow(ctx, l.socket, func(s docker.State) {
			select {
			case states <- s:
			case <-ctx.Done():
			}
		})
	})
	timer := time.NewTimer(0)
	defer timer.Stop()
	answered := false
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-states:
			if answered = s.Err == nil; !answered {
				report(discovery.Report{Err: s.Err, Next: s.Next, Other: true})
				continue
			}
			l.see(s.Containers)
		case <-timer.C:
		case <-l.news:
		}
		warnings, next := l.look(time.Now())
		timer.Reset(next)
		if answered {
			report(discovery.Report{Warnings: warnings, Other: true})
		}
	}
}

func (l *Labels) see(now []docker.Container) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.memory.see(now, time.Now())
}

// look asks for another reading if what labels say is not what is in force, or what could not be put in force. It returns what is wrong with containers, and when it
// is to be called again if nothing happens.
func (l *Labels) look(now time.Time) (warnings []string, next time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known, warnings := l.force.digest, l.force.warnings
	if l.problem != "" {
		known, warnings = l.last.digest, append(slices.Clone(warnings), l.problem)
	}
	if digest(l.counting(now)) != known {
		l.changed()
	} else { // or there may be a listener for them soon
		warnings = append(slices.Clip(warnings), idle(l.memory.present, l.force.served)...)
	}
	if l.due.IsZero() {
		return warnings, time.Hour
	}
	return warnings, max(l.due.Sub(now), time.Millisecond)
}
