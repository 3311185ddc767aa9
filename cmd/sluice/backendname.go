package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice/cmd/sluice/internal/admin"
)

// A backendName is a backend as an operator writes it.
type backendName struct{ pool, backend string }

// parseBackendName reads POOL/BACKEND. A pool has no slash in its name, a backend that is a Unix socket may have.
func parseBackendName(text string) (backendName, error) {
	pool, backend, found := strings.Cut(text, "/")
	if !found || pool == "" || backend == "" {
		return backendName{}, misused("%q: want POOL/BACKEND, as sluice status shows them", text)
	}
	return backendName{pool, backend}, nil
}

func (n backendName) String() string { return n.pool + "/" + n.backend }

func (n backendName) path() string { return admin.BackendPath(n.pool, n.backend) }

func (n backendName) overridesPath() string { return n.path() + "/overrides" }

// wantArguments returns what checks how many arguments a command gets; most = -1: any number.
func wantArguments(least, most int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return misused("want %s (%s --help explains)", what, c.CommandPath())
		case most >= 0 && len(args) > most:
			return misused("unexpected argument %q: want %s (%s --help explains)", args[most], what, c.CommandPath())
		}
		return nil
	}
}

// oneBackend is for commands whose only argument is a backend.
var oneBackend = wantArguments(1, 1, "one backend, as POOL/BACKEND")

// completeTimeout is how long somebody who presses Tab may have to wait.
const completeTimeout = time.Second

// completeBackend completes the first argument with what a running sluice has, and the others with next.
func (a *asker) completeBackend(next ...string) cobra.CompletionFunc {
	return a.complete(next, func(p *admin.PoolStatus) (names []string) {
		seen := make(map[string]bool) // an entry has several backends
		for _, b := range p.Backends {
			if names = append(names, p.Name+"/"+b.Name); b.Entry != "" && !seen[b.Entry] {
				seen[b.Entry] = true
				names = append(names, p.Name+"/"+b.Entry)
			}
		}
		return names
	})
}

// completePool is completeBackend for a pool.
func (a *asker) completePool() cobra.CompletionFunc {
	return a.complete(nil, func(p *admin.PoolStatus) []string { return []string{p.Name} })
}

func (a *asker) complete(next []string, names func(*admin.PoolStatus) []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) (all []cobra.Completion, _ cobra.ShellCompDirective) {
		if len(args) > 0 {
			return next, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}
		ctx, cancel := context.WithTimeout(context.Background(), completeTimeout)
		defer cancel()
		status, _, err := admin.FetchStatus(ctx, a.socket)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		for i := range status.Pools {
			all = append(all, names(&status.Pools[i])...)
		}
		return all, cobra.ShellCompDirectiveNoFileComp
	}
}
