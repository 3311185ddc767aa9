package main

import (
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"sluice/cmd/sluice/internal/admin"
)

func newRemoveCommand() *cobra.Command {
	var o changeOptions
	var w waitOptions
	c := &cobra.Command{
		Use:   "remove POOL/BACKEND",
		Short: "Take a backend out of its pool",
		Long: "Take a backend out of its pool, whatever the configuration says, until sluice unset. Its sessions go on, unless\n" +
			"on_down.removed ends them; it is forgotten when the last one has ended.\n\n" +
			"With --wait it ends when that is so, or fails and says how many are left.",
		Example: "  sluice remove web/10.0.0.1:80 --wait 10m",
		Args:    oneBackend,
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseBackendName(args[0])
			if err != nil {
				return err
			}
			if err := w.check(c, o.dryRun); err != nil {
				return err
			}
			var all []backendName
			if w.wait > 0 { // before: an entry that is removed has none
				if all, err = o.backendsOf(name); err != nil {
					return err
				}
			}
			out := c.OutOrStdout()
			if err := o.carryOut(out, admin.Request{Method: http.MethodDelete, Path: name.path()}); err != nil || w.wait == 0 {
				return err
			}
			if o.asJSON {
				out = io.Discard
			}
			return o.awaitLast(out, name, all, "", w.wait)
		},
		ValidArgsFunction: o.completeBackend(),
	}
	o.flags(c)
	w.flag(c)
	return c
}
