package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"sluice/cmd/sluice/internal/admin"
)

func newReloadCommand() *cobra.Command {
	var o changeOptions
	var upgrade bool
	c := &cobra.Command{
		Use:   "reload",
		Short: "Make a running sluice read its configuration again",
		Long: "Make a running sluice read its configuration again, and say what has changed: + is what comes, - what goes,\n" +
			"~ what is changed, ! what is to be known. No session is cut that on_down does not say so of.\n\n" +
			"A configuration that is wrong changes nothing: all that is wrong with it is printed, and the exit status is 3.\n\n" +
			"With --upgrade a program that was replaced takes over, with the configuration as it is then: see sluice upgrade.\n" +
			"Where there is no program any more, that is said, and the configuration is read.",
		Example: "  sluice reload --dry-run\n  sluice reload",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if upgrade {
				if o.dryRun {
					return misused("--upgrade does not go with --dry-run")
				}
				u, err := o.upgrade(c.OutOrStdout(), map[string]any{"if_replaced": true}, o.asJSON)
				if u.OK || err != nil {
					return err
				}
				if u.Reason != "" {
					fmt.Fprintln(c.ErrOrStderr(), "sluice: no upgrade, but a reload:", u.Reason)
				}
			}
			return o.carryOut(c.OutOrStdout(), admin.Request{Method: http.MethodPost, Path: "/api/v1/reload"})
		},
	}
	o.flags(c)
	c.Flags().BoolVar(&upgrade, "upgrade", false, "let a new process take over instead if the program was replaced since it was started")
	return c
}
