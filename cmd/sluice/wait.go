package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"sluice/cmd/sluice/internal/admin"
	"sluice/pool"
)

// waitPoll is how often a sluice is asked by somebody who waits.
const waitPoll = 100 * time.Millisecond

// waitOptions are the flags of commands that can wait for what they ask for.
type waitOptions struct{ wait time.Duration }

func (o *waitOptions) flag(c *cobra.Command) {
	c.Flags().DurationVar(&o.wait, "wait", 0, "wait until it is done, for `DURATION` at most, such as 5m")
}

func (o *waitOptions) check(c *cobra.Command, dryRun bool) error {
	switch {
	case !c.Flags().Changed("wait"):
	case o.wait <= 0:
		return misused("--wait %v: want a time above zero, such as 5m", o.wait)
	case dryRun:
		return misused("--wait cannot be combined with --dry-run: nothing happens that could be waited for")
	}
	return nil
}

// backend asks for one backend. gone: there is none of that name any more, nor a session on it.
func (a *asker) backend(name backendName) (b admin.BackendStatus, gone bool, err error) {
	_, err = a.fetch(admin.Request{Method: http.MethodGet, Path: name.path()}, &b)
	if refusal := (*admin.Refusal)(nil); errors.As(err, &refusal) && refusal.Status == http.StatusNotFound {
		return b, true, nil
	}
	return b, false, err
}

// backendsOf returns the backends that a name stands for now: one, or all that were found for an entry.
func (a *asker) backendsOf(name backendName) (all []backendName, err error) {
	if _, gone, err := a.backend(name); !gone || err != nil {
		return []backendName{name}, err
	}
	return a.foundFor(name)
}

// foundFor returns the backends that were found for an entry.
func (a *asker) foundFor(entry backendName) (all []backendName, err error) {
	var status admin.Status
	if _, err := a.fetch(admin.Request{Method: http.MethodGet, Path: statusPath}, &status); err != nil {
		return nil, err
	}
	for _, p := range status.Pools {
		for _, b := range p.Backends {
			if p.Name == entry.pool && b.Entry == entry.backend {
				all = append(all, backendName{p.Name, b.Name})
			}
		}
	}
	return all, nil
}

// awaited is what somebody waits for: a backend, or those of an entry.
type awaited struct {
	*asker
	name  backendName
	all   []backendName // that name stands for
	entry bool          // name is an entry's
}

// ask asks for all of them, those that are gone left out.
func (w *awaited) ask() (there []admin.BackendStatus, err error) {
	for _, one := range w.all {
		b, gone, err := w.backend(one)
		if err != nil {
			return nil, err
		}
		if b.Name = one.backend; !gone {
			there = append(there, b)
		}
	}
	if len(there) > 0 || w.entry {
		return there, nil
	}
	w.entry = true // or it was removed
	if w.all, err = w.foundFor(w.name); err != nil || len(w.all) == 0 {
		return nil, err
	}
	return w.ask()
}

// awaitLast waits until the last session on some backends has ended, which name stands for; state is the one that they are
// to stay in, "" for any.
func (a *asker) awaitLast(out io.Writer, name backendName, all []backendName, state string, wait time.Duration) error {
	w, said := awaited{asker: a, name: name, all: all, entry: state == ""}, false
	return poll(wait, func(over bool) (bool, error) {
		there, err := w.ask()
		active := 0
		for _, b := range there {
			if active += b.Active; state != "" && b.State != state && b.Active > 0 {
				return true, fmt.Errorf("%s has %s, and is %s now: somebody has changed it", backendName{name.pool, b.Name},
					plural(b.Active, "session"), b.State)
			}
		}
		switch {
		case err != nil:
			return true, err
		case state != "" && len(there) == 0: // a removed one is there until its last session has ended
			_, err = fmt.Fprintf(out, "%s was removed: it has no sessions\n", name)
			return true, err
		case active == 0:
			_, err = fmt.Fprintf(out, "%s has no sessions\n", name)
			return true, err
		case over:
			return true, fmt.Errorf("%s still has %s after %s", name, plural(active, "session"), waitText(wait))
		case !said:
			said = true
			_, err = fmt.Fprintf(out, "%s has %s: waiting\n", name, plural(active, "session"))
		}
		return false, err
	})
}

// awaitUsable waits until a backend can be given sessions, or all of an entry that have not vanished.
func (a *asker) awaitUsable(out io.Writer, name backendName, wait time.Duration) error {
	w := awaited{asker: a, name: name, all: []backendName{name}}
	return poll(wait, func(over bool) (bool, error) {
		there, err := w.ask()
		if err == nil && len(there) == 0 {
			err = fmt.Errorf("%s was removed while it was waited for", name)
		}
		if err != nil {
			return true, err
		}
		for _, b := range there {
			of := backendName{name.pool, b.Name}
			switch {
			case b.Usable, b.Vanished && w.entry:
			case b.State != pool.Ready.String():
				return true, fmt.Errorf("%s is %s now: somebody has changed it", of, b.State)
			case over:
				return true, fmt.Errorf("%s is not usable after %s: %s", of, waitText(wait), whyUnusable(b))
			default:
				return false, nil
			}
		}
		_, err = fmt.Fprintf(out, "%s is up\n", name)
		return true, err
	})
}

// whyUnusable says what keeps a backend that is ready from being given sessions.
func whyUnusable(b admin.BackendStatus) string {
	why := backendState(b)
	switch {
	case b.Vanished:
		return "no source has it any more"
	case b.Up && !b.Ejected && b.Weight == 0:
		return "its weight is 0"
	case b.Check.Reason != "":
		return why + ", " + b.Check.Reason
	case b.Check.Error != "":
		return why + ", " + b.Check.Error
	}
	return why
}

// poll calls done until it returns true, or an error; over: the time is, and this is the last call.
func poll(wait time.Duration, done func(over bool) (bool, error)) error {
	tick := time.NewTicker(waitPoll)
	defer tick.Stop()
	for deadline := time.Now().Add(wait); ; <-tick.C {
		over := !time.Now().Before(deadline)
		if ended, err := done(over); ended || over || err != nil {
			return err
		}
	}
}

// waitText writes a duration as it was given: 5m, not 5m0s.
func waitText(d time.Duration) string {
	if d >= time.Minute && d%time.Minute == 0 {
		return strconv.Itoa(int(d/time.Minute)) + "m"
	}
	return d.String()
}
