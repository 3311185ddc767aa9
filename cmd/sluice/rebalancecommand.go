package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"sluice/cmd/sluice/internal/admin"
)

func newRebalanceCommand() *cobra.Command {
	var o changeOptions
	c := &cobra.Command{
		Use:   "rebalance POOL",
		Short: "Close idle sessions of backends that have too many",
		Long: "Close idle sessions of backends that have more than their share, so that their clients come back to others. It is\n" +
			"done once, at the rate and of the sessions that the pool's rebalance says; where it has none, at 5 in a second,\n" +
			"of those that have been idle for 30s. Postgres sessions are closed only where the pool has rebalance.\n\n" +
			"An interrupt (Ctrl-C) spares those that are left.",
		Example: "  sluice rebalance web --dry-run\n  sluice rebalance web",
		Args:    wantArguments(1, 1, "one pool"),
		RunE: func(c *cobra.Command, args []string) error {
			if args[0] == "" {
				return misused("the name of the pool is empty")
			}
			return o.rebalance(c.OutOrStdout(), args[0])
		},
		ValidArgsFunction: o.completePool(),
	}
	o.flags(c)
	return c
}

// rebalance asks, and waits until it is done: that takes its time.
func (o *changeOptions) rebalance(out io.Writer, pool string) error {
	r := admin.Request{Method: http.MethodPost, Path: admin.PoolPath(pool) + "/rebalance"}
	if o.dryRun {
		r.Query = url.Values{"dry_run": {"true"}}
	}
	var done admin.Rebalanced
	text, err := o.await(r, &done)
	if err != nil {
		return err
	}
	if o.asJSON {
		_, err = out.Write(text)
		return err
	}
	_, err = io.WriteString(out, rebalancedText(&done, o.dryRun))
	return err
}

func rebalancedText(done *admin.Rebalanced, dryRun bool) string {
	var b strings.Builder
	t := newTable("BACKEND", "SESSIONS>", "TOO MANY>")
	surplus := 0
	for _, of := range done.Backends {
		t.row(of.Backend, of.Sessions, of.Surplus)
		surplus += of.Surplus
	}
	t.print(&b)
	switch {
	case dryRun:
		fmt.Fprintf(&b, "%s would be closed, where idle\n", plural(surplus, "session"))
	case done.Ended < surplus:
		fmt.Fprintf(&b, "%s closed, %d more were in use\n", plural(done.Ended, "session"), surplus-done.Ended)
	default:
		fmt.Fprintf(&b, "%s closed\n", plural(done.Ended, "session"))
	}
	return b.String()
}
