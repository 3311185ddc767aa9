package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"sluice/configs"
)

func newCheckCommand() *cobra.Command {
	var paths []string
	c := &cobra.Command{
		Use:   "check FILE...",
		Short: "Check a configuration and print everything that is wrong with it",
		Long: "Check a configuration and print everything that is wrong with it, each with its line and column.\n" +
			"Host names of backends are looked up; nothing is bound and nothing is connected to.\n\n" +
			"Several files, or a folder of *.yaml and *.yml, are one configuration; - is the standard input.\n" +
			"The exit status is 3 when something is wrong.",
		RunE: func(c *cobra.Command, args []string) error {
			paths := append(paths, args...)
			if len(paths) == 0 {
				return misused("no file to check: give one")
			}
			file, err := configs.Load(paths...)
			if err != nil {
				return err
			}
			backends := 0
			for _, p := range file.Pools {
				backends += len(p.Config.Backends)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: ok: %s, %s, %s\n", strings.Join(paths, ", "),
				plural(len(file.Listeners), "listener"), plural(len(file.Pools), "pool"), plural(backends, "backend"))
			return err
		},
	}
	configFlag(c, &paths)
	return c
}

// configFlag gives a command the flag for the files of the configuration.
func configFlag(c *cobra.Command, paths *[]string) {
	c.Flags().StringArrayVarP(paths, "config", "c", nil,
		"configuration `FILE`, a folder of them, or - for standard input; may be repeated")
	_ = c.MarkFlagFilename("config", "yaml", "yml") // fails only for a flag that does not exist
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
