package main

import (
	"net/http"

	"github.com/spf13/cobra"

	"sluice/cmd/sluice/internal/admin"
)

func newAddCommand() *cobra.Command {
	var o changeOptions
	var name, state string
	var weight, maxConns int
	var backup bool
	c := &cobra.Command{
		Use:   "add POOL ADDRESS",
		Short: "Give a pool one more backend",
		Long: "Give a pool one more backend than its configuration has. It stays until sluice remove, over every reload, and\n" +
			"with admin.state_file over a restart too.",
		Example: "  sluice add web 10.0.0.9:80 --name nine --weight 2",
		Args:    wantArguments(2, 2, "a pool and an address, such as web 10.0.0.9:80"),
		RunE: func(c *cobra.Command, args []string) error {
			body := map[string]any{"address": args[1]}
			for _, f := range []struct {
				flag, key string
				value     any
			}{
				{"name", "name", name}, {"state", "state", state}, {"weight", "weight", weight},
				{"max-conns", "max_conns", maxConns}, {"backup", "backup", backup},
			} {
				if c.Flags().Changed(f.flag) {
					body[f.key] = f.value
				}
			}
			if args[0] == "" || args[1] == "" {
				return misused("the pool and the address must not be empty")
			}
			return o.carryOut(c.OutOrStdout(), admin.Request{
				Method: http.MethodPost, Path: admin.PoolPath(args[0]) + "/backends", Body: body,
			})
		},
		ValidArgsFunction: o.completePool(),
	}
	f := c.Flags()
	f.StringVar(&name, "name", "", "`NAME` of the backend; its address where none is given")
	f.IntVar(&weight, "weight", 1, "its share of new sessions")
	f.IntVar(&maxConns, "max-conns", 0, "how many connections it is given at most; 0 = no limit")
	f.BoolVar(&backup, "backup", false, "give it sessions only while no other backend is up")
	f.StringVar(&state, "state", "ready", "`STATE` that it begins in: ready, drain or maint")
	o.flags(c)
	return c
}
