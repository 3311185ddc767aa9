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

// awaitLast waits until the last session on a backend has ended; state is the one that it is to stay in, "" for any.
func (a *asker) awaitLast(out io.Writer, name backendName, state string, wait time.Duration) error {
	said := false
	return poll(wait, func(over bool) (bool, error) {
		b, gone, err := a.backend(name)
		switch {
		case err != nil:
			return true, err
		case state != "" && gone:
			return true, fmt.Errorf("%s was removed while its sessions were waited for", name)
		case gone || b.Active == 0:
			_, err = fmt.Fprintf(out, "%s has no sessions\n", name)
			return true, err
		case state != "" && b.State != state:
			return true, fmt.Errorf("%s has %s, and is %s now: somebody has changed it", name, plural(b.Active, "session"), b.State)
		case over:
			return true, fmt.Errorf("%s still has %s after %s", name, plural(b.Active, "session"), waitText(wait))
		case !said:
			said = true
			_, err = fmt.Fprintf(out, "%s has %s: waiting\n", name, plural(b.Active, "session"))
		}
		return false, err
	})
}

// awaitUsable waits until a backend can be given sessions.
func (a *asker) awaitUsable(out io.Writer, name backendName, wait time.Duration) error {
	return poll(wait, func(over bool) (bool, error) {
		b, gone, err := a.backend(name)
		switch {
		case err != nil:
			return true, err
		case gone:
			return true, fmt.Errorf("%s was removed while it was waited for", name)
		case b.State != pool.Ready.String():
			return true, fmt.Errorf("%s is %s now: somebody has changed it", name, b.State)
		case b.Usable:
			_, err = fmt.Fprintf(out, "%s is up\n", name)
			return true, err
		case over:
			return true, fmt.Errorf("%s is not usable after %s: %s", name, waitText(wait), whyUnusable(b))
		}
		return false, nil
	})
}

// whyUnusable says what keeps a backend that is ready from being given sessions.
func whyUnusable(b admin.BackendStatus) string {
	why := backendState(b)
	switch {
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
