package main

import (
	"net/http"

	"github.com/spf13/cobra"

	"sluice/cmd/sluice/internal/admin"
)

// statusPath is where a sluice tells everything about itself.
const statusPath = "/api/v1/status"

func newStatusCommand() *cobra.Command {
	var asJSON bool
	var a asker
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the listeners, pools, backends and counters of a running sluice",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			var status admin.Status
			text, err := a.fetch(admin.Request{Method: http.MethodGet, Path: statusPath}, &status)
			if err != nil {
				return err
			}
			if asJSON {
				_, err = c.OutOrStdout().Write(text)
				return err
			}
			return printStatus(c.OutOrStdout(), status)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the answer of /api/v1/status as it is")
	a.flag(c)
	return c
}
