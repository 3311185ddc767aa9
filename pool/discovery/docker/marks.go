package docker

import "time"

// A mark is what events have said of a container and a list may not say, yet or at all.
type mark struct {
	state state     // "" = nothing
	said  time.Time // when that was heard

	stopping time.Time // a signal was sent that is to end it, by the engine's clock; zero = none
	since    time.Time // when that was, by the clock here
}

// The engine tells that a container is paused, goes on or has died before it changes what it lists; the disk is between the
// two. For so long an event is believed more than a list.
const settled = 10 * time.Second

// A container that lives on so long after a signal that was to end it is one that does not heed it, and gets sessions again.
// "docker stop" sends SIGKILL at the end of the time that it gives.
const longestStop = 10 * time.Minute

type marks map[string]*mark

// note takes down what an event says. It reports whether something has changed.
func (m marks) note(e *event, now time.Time) bool {
	if e.Type != "container" {
		return false
	}
	id, was := e.Actor.ID, mark{}
	if had := m[id]; had != nil {
		was = *had
	}
	next := was
	switch e.Action {
	case "start":
		next = mark{state: running, said: now}
	case "unpause":
		next.state, next.said = running, now
	case "pause":
		next.state, next.said = paused, now
	case "die":
		next = mark{state: dead, said: now}
	default:
		return false
	}
	m[id] = &next
	return was.state != next.state || was.stopping != next.stopping
}

// stops takes down that a container is about to end. at is by the engine's clock, which may be another one than ours.
func (m marks) stops(id string, at, now time.Time) {
	if m[id] == nil {
		m[id] = new(mark)
	}
	m[id].stopping, m[id].since = at, now
	if at.Before(now) {
		m[id].since = at
	}
}

// stopping returns the containers that are about to end, with the time at which they were told to.
func (m marks) stopping() map[string]time.Time {
	all := make(map[string]time.Time)
	for id, one := range m {
		if !one.stopping.IsZero() {
			all[id] = one.stopping
		}
	}
	return all
}

// forget drops what need not be known any more.
func (m marks) forget(now time.Time) {
	for id, one := range m {
		if now.Sub(one.since) > longestStop {
			one.stopping = time.Time{}
		}
		if now.Sub(one.said) > settled {
			one.state = ""
		}
		if one.state == "" && one.stopping.IsZero() {
			delete(m, id)
		}
	}
}

// settle drops what was said of states: the next list is younger than all that. What an engine that has restarted has said
// since may be more than it remembers.
func (m marks) settle() {
	for _, one := range m {
		one.state = ""
	}
}

// judge says of every container in a list in what state it is, and whether it serves.
func (m marks) judge(all []Container) {
	for i := range all {
		c, stopping := &all[i], false
		if one := m[c.ID]; one != nil {
			if one.state != "" {
				c.state = one.state
			}
			stopping = !one.stopping.IsZero()
		}
		c.Serves = c.state == running && !stopping && (c.health == unchecked || c.health == healthy)
	}
}
