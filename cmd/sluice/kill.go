package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"sluice/cmd/sluice/internal/admin"
)

// killOptions are the flags of kill.
type killOptions struct {
	asker
	filters             sessionFilters
	all, dryRun, asJSON bool
	rate                string
}

func newKillCommand() *cobra.Command {
	var o killOptions
	c := &cobra.Command{
		Use:   "kill ID... | --FILTER VALUE... | --all",
		Short: "End sessions of a running sluice",
		Long: "End sessions of a running sluice: those with these IDs, those that all filters pass, or every one. They end with\n" +
			"reason killed, and both peers see a reset.\n\n" +
			"With --rate they are ended one after the other, evenly spread, so that not all clients come back at once. An\n" +
			"interrupt (Ctrl-C) spares those that are left.",
		Example: "  sluice kill 4711\n  sluice kill --pool web --idle 10m --dry-run\n  sluice kill --backend old --rate 50/s",
		RunE: func(c *cobra.Command, args []string) error {
			query, err := o.query(c, args)
			if err != nil {
				return err
			}
			return o.kill(c.OutOrStdout(), query, len(args))
		},
	}
	o.filters.flags(c)
	o.flag(c)
	c.Flags().BoolVar(&o.all, "all", false, "every session")
	c.Flags().StringVar(&o.rate, "rate", "", "how many in a second at most, such as `50/s`; all at once where it is not given")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "only count them")
	c.Flags().BoolVar(&o.asJSON, "json", false, "print the answer of the API as it is")
	return c
}

// query returns which sessions are meant. There is one way of saying it at a time: nobody who gives two means both.
func (o *killOptions) query(c *cobra.Command, args []string) (url.Values, error) {
	query, err := o.filters.query(c)
	if err != nil {
		return nil, err
	}
	ways := 0
	for _, given := range []bool{len(query) > 0, len(args) > 0, o.all} {
		if given {
			ways++
		}
	}
	switch {
	case ways == 0:
		return nil, misused("which sessions? give IDs, as sluice sessions shows them, a filter such as --pool, or --all")
	case ways > 1:
		return nil, misused("IDs, filters and --all cannot be combined")
	}
	for _, arg := range args {
		if _, err := strconv.ParseUint(arg, 10, 64); err != nil {
			return nil, misused("%q: want the ID of a session, as sluice sessions shows it", arg)
		}
		query.Add("id", arg)
	}
	if o.all {
		query.Set("all", "true")
	}
	if c.Flags().Changed("rate") {
		if o.rate == "" {
			return nil, misused("--rate: want a value, such as 50/s")
		}
		query.Set("rate", o.rate)
	}
	if o.dryRun {
		query.Set("dry_run", "true")
	}
	return query, nil
}

// kill asks, and waits until it is done: with a rate that takes its time. ids is how many sessions were named.
func (o *killOptions) kill(out io.Writer, query url.Values, ids int) error {
	var killed admin.Killed
	text, err := o.await(admin.Request{Method: http.MethodDelete, Path: sessionsPath, Query: query}, &killed)
	switch {
	case err != nil:
		return err
	case o.asJSON:
		_, err = out.Write(text)
	case o.dryRun:
		_, err = fmt.Fprintf(out, "%s would be ended\n", plural(killed.Matched, "session"))
	case killed.Ended < killed.Matched:
		_, err = fmt.Fprintf(out, "%s ended, %d had ended by themselves\n", plural(killed.Ended, "session"), killed.Matched-killed.Ended)
	default:
		_, err = fmt.Fprintf(out, "%s ended\n", plural(killed.Ended, "session"))
	}
	if err == nil && killed.Matched < ids {
		err = fmt.Errorf("%d of %s not found", ids-killed.Matched, plural(ids, "session"))
	}
	return err
}
