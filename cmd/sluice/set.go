package main

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/overrides"
)

func newSetCommand() *cobra.Command {
	var o changeOptions
	c := &cobra.Command{
		Use:   "set POOL/BACKEND KEY=VALUE...",
		Short: "Set the state, weight or max_conns of a backend, whatever the configuration says",
		Long: "Set keys of a backend, whatever the configuration says. They hold until sluice unset, over every reload, and\n" +
			"with admin.state_file over a restart too. sluice status lists them.\n\n" +
			"  state      ready, drain (no new sessions) or maint (neither sessions nor checks)\n" +
			"  weight     its share of new sessions; 0 = none\n" +
			"  max_conns  how many connections it is given at most; 0 = no limit",
		Example: "  sluice set web/10.0.0.1:80 weight=5\n  sluice set web/old state=drain max_conns=100",
		Args:    wantArguments(2, -1, "a backend, as POOL/BACKEND, and KEY=VALUE, such as weight=5"),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseBackendName(args[0])
			if err != nil {
				return err
			}
			set, err := parseSettings(args[1:])
			if err != nil {
				return err
			}
			return o.carryOut(c.OutOrStdout(), admin.Request{Method: http.MethodPatch, Path: name.overridesPath(), Body: set})
		},
		ValidArgsFunction: o.completeBackend(overrides.State+"=", overrides.Weight+"=", overrides.MaxConns+"="),
	}
	o.flags(c)
	return c
}

// parseSettings reads KEY=VALUE. Which keys and values there are is for the sluice that runs to say.
func parseSettings(args []string) (map[string]string, error) {
	set := make(map[string]string)
	for _, arg := range args {
		key, value, found := strings.Cut(arg, "=")
		if !found || key == "" || value == "" {
			return nil, misused("%q: want KEY=VALUE, such as weight=5", arg)
		}
		if _, twice := set[key]; twice {
			return nil, misused("%s is given twice", key)
		}
		set[key] = value
	}
	return set, nil
}

func newUnsetCommand() *cobra.Command {
	var o changeOptions
	c := &cobra.Command{
		Use:   "unset POOL/BACKEND [KEY...]",
		Short: "Take back what was set of a backend: some keys, or all",
		Long: "Take back what was set of a backend: some keys, or all. What the configuration says holds again. A backend that\n" +
			"was removed comes back, and one that was added goes.",
		Example: "  sluice unset web/10.0.0.1:80 weight\n  sluice unset web/10.0.0.1:80",
		Args:    wantArguments(1, -1, "a backend, as POOL/BACKEND"),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseBackendName(args[0])
			if err != nil {
				return err
			}
			r := admin.Request{Method: http.MethodDelete, Path: name.overridesPath(), Query: url.Values{}}
			for _, key := range args[1:] {
				if key == "" {
					return misused("a key is empty: give none for all of them")
				}
				r.Query.Add("key", key)
			}
			return o.carryOut(c.OutOrStdout(), r)
		},
		ValidArgsFunction: o.completeBackend(overrides.State, overrides.Weight, overrides.MaxConns),
	}
	o.flags(c)
	return c
}
