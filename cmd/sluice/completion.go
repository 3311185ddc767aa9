package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// newCompletionCommand replaces the library's own, which takes an unknown shell as a success.
func newCompletionCommand() *cobra.Command {
	generators := map[string]func(*cobra.Command) error{
		"bash": func(c *cobra.Command) error { return c.Root().GenBashCompletionV2(c.OutOrStdout(), true) },
		"fish": func(c *cobra.Command) error { return c.Root().GenFishCompletion(c.OutOrStdout(), true) },
		"zsh":  func(c *cobra.Command) error { return c.Root().GenZshCompletion(c.OutOrStdout()) },
	}
	shells := slices.Sorted(maps.Keys(generators))
	return &cobra.Command{
		Use:   "completion " + strings.Join(shells, "|"),
		Short: "Print a script that completes sluice's commands in a shell",
		Long: "Print a script that completes sluice's commands and flags in a shell.\n\n" +
			"In bash, for this shell only: source <(sluice completion bash)",
		ValidArgs: shells,
		Args:      cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			generate, ok := generators[args[0]]
			if !ok {
				return misused("unknown shell %q: want %s", args[0], strings.Join(shells, ", "))
			}
			return generate(c)
		},
	}
}
