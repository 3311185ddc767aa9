package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"

	"github.com/spf13/cobra"

	"sluice/cmd/sluice/internal/admin"
)

const upgradePath = "/api/v1/upgrade"

// upgradeOptions are the flags of upgrade.
type upgradeOptions struct {
	asker
	binary string
	asJSON bool
}

func newUpgradeCommand() *cobra.Command {
	var o upgradeOptions
	c := &cobra.Command{
		Use:   "upgrade",
		Short: "Let a new process of sluice take over, with all sessions",
		Long: "Let a running sluice start a new process of its program, which may have been replaced since, with the arguments it\n" +
			"was started with. The new process takes over everything: sessions, with every byte that is under way, sockets, states\n" +
			"and counters. No client notices, and the old process ends. So does SIGUSR2.\n\n" +
			"Replace the program by renaming the new one into its place, as install and packages do.\n\n" +
			"When the new process cannot take over, or its configuration is wrong (exit status 3), nothing has changed.\n\n" +
			"A sluice that is process 1 of its container starts none: a second container that shares the folder of the control\n" +
			"socket takes over with run --take-over SOCKET.",
		Example: "  sluice upgrade\n  sluice upgrade --binary /usr/local/bin/sluice-next",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.binary != "" {
				path, err := filepath.Abs(o.binary)
				if err != nil {
					return err
				}
				o.binary = path
			}
			_, err := o.upgrade(c.OutOrStdout(), map[string]any{"binary": o.binary}, o.asJSON)
			return err
		},
	}
	o.flag(c)
	c.Flags().StringVar(&o.binary, "binary", "", "`PATH` of the program to start in place of the one that was started")
	c.Flags().BoolVar(&o.asJSON, "json", false, "print the answer of the API as it is")
	return c
}

// upgrade asks for an upgrade and prints how it went, unless there was nothing to do.
func (a *asker) upgrade(out io.Writer, body map[string]any, asJSON bool) (u admin.Upgraded, err error) {
	text, err := a.await(admin.Request{Method: http.MethodPost, Path: upgradePath, Body: body}, &u)
	switch {
	case err != nil && asJSON:
		return u, errors.Join(err, printRefusal(out, err))
	case err != nil || !u.OK:
		return u, err
	case asJSON:
		_, err = out.Write(text)
	default:
		_, err = io.WriteString(out, upgradedText(&u))
	}
	return u, err
}

// upgradedText writes how an upgrade went for people.
func upgradedText(u *admin.Upgraded) string {
	text := fmt.Sprintf("process %d serves, version %s in place of %s: %s went over in %v", u.PID, u.Version, u.VersionBefore,
		plural(u.Sessions, "session"), pauseText(u.Seconds))
	if u.Sessions > 0 {
		text += fmt.Sprintf(", and none stood still for more than %v", pauseText(u.LongestPause))
	}
	text += "\n"
	if u.Left > 0 {
		text += fmt.Sprintf("%s could not go at once: see upgrade.deadline, and the log\n", plural(u.Left, "session"))
	}
	return text
}
