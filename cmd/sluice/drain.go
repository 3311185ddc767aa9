package main

import (
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/overrides"
	"sluice/pool"
)

// until is how long a state holds that is set.
const until = "\nThat holds until sluice unset or another state, over every reload. A backend with a host name is all addresses that\n" +
	"this has, now and later."

func newDrainCommand() *cobra.Command {
	return newStateCommand(pool.Drain, &cobra.Command{
		Use:   "drain POOL/BACKEND",
		Short: "Give a backend no new sessions",
		Long: "Give a backend no new sessions; it is still checked. Those that it has go on, unless on_down.drain ends them." + until + "\n\n" +
			"With --wait it ends when the last session has, or fails and says how many are left.",
		Example: "  sluice drain web/10.0.0.1:80 --wait 5m && reboot-it",
	})
}

func newMaintCommand() *cobra.Command {
	return newStateCommand(pool.Maint, &cobra.Command{
		Use:   "maint POOL/BACKEND",
		Short: "Give a backend no new sessions, and check it no more",
		Long: "Give a backend no new sessions, and check it no more. What becomes of those that it has on_down.maint says." + until + "\n\n" +
			"With --wait it ends when the last session has, or fails and says how many are left.",
		Example: "  sluice maint web/10.0.0.1:80",
	})
}

func newReadyCommand() *cobra.Command {
	return newStateCommand(pool.Ready, &cobra.Command{
		Use:   "ready POOL/BACKEND",
		Short: "Give a backend sessions again",
		Long: "Give a backend sessions again, after drain or maint. Where the configuration has it ready, nothing stays set.\n\n" +
			"With --wait it ends when the backend can be given sessions, or fails and says why it cannot.",
		Example: "  sluice ready web/10.0.0.1:80 --wait 1m",
	})
}

// newStateCommand makes of a command the one that puts a backend into a state.
func newStateCommand(state pool.AdminState, c *cobra.Command) *cobra.Command {
	var o changeOptions
	var w waitOptions
	c.Args = oneBackend
	c.ValidArgsFunction = o.completeBackend()
	c.RunE = func(c *cobra.Command, args []string) error {
		name, err := parseBackendName(args[0])
		if err != nil {
			return err
		}
		if err := w.check(c, o.dryRun); err != nil {
			return err
		}
		if err := o.setState(c.OutOrStdout(), name, state); err != nil || w.wait == 0 {
			return err
		}
		out := c.OutOrStdout()
		if o.asJSON {
			out = io.Discard
		}
		if state == pool.Ready {
			return o.awaitUsable(out, name, w.wait)
		}
		return o.awaitLast(out, name, []backendName{name}, state.String(), w.wait)
	}
	o.flags(c)
	w.flag(c)
	return c
}

func (o *changeOptions) setState(out io.Writer, name backendName, state pool.AdminState) error {
	r := admin.Request{
		Method: http.MethodPatch, Path: name.overridesPath(), Body: map[string]string{overrides.State: state.String()},
	}
	if state == pool.Ready {
		enough, err := o.fileHasReady(name)
		if err != nil {
			return err
		}
		if enough {
			r.Method, r.Body, r.Query = http.MethodDelete, nil, url.Values{"key": {overrides.State}}
		}
	}
	return o.carryOut(out, r)
}

// fileHasReady reports whether a backend is ready once its state is not set any more. To set it then would hide what the
// configuration comes to say, for no reason that anybody remembers.
func (o *changeOptions) fileHasReady(name backendName) (bool, error) {
	var status admin.Status
	if _, err := o.fetch(admin.Request{Method: http.MethodGet, Path: statusPath}, &status); err != nil {
		return false, err
	}
	for _, s := range status.Overrides {
		if s.Pool == name.pool && s.Backend == name.backend && s.Key == overrides.State {
			return s.InFile == pool.Ready.String(), nil
		}
	}
	return false, nil
}
