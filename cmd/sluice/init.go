package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sluice/configs"
)

func newInitCommand() *cobra.Command {
	// The smallest sample has no name of its own: it is what a plain init prints.
	names := slices.DeleteFunc(configs.Samples(), func(name string) bool { return name == "" })
	return &cobra.Command{
		Use:   "init [" + strings.Join(names, "|") + "]",
		Short: "Print a commented sample configuration",
		Long: "Print a commented sample configuration: the smallest one, or one for a purpose.\n\n" +
			"  sluice init > sluice.yaml && sluice check -c sluice.yaml",
		ValidArgs: names,
		Args:      cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name := strings.Join(args, "")
			sample, ok := configs.Sample(name)
			if !ok {
				return misused("unknown sample %q: want %s", name, strings.Join(names, ", "))
			}
			_, err := c.OutOrStdout().Write(sample)
			return err
		},
	}
}
