package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"sluice/configs"
)

func newCheckCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "check -c FILE",
		Short: "Check a configuration file and print everything that is wrong with it",
		Long: "Check a configuration file and print everything that is wrong with it, each with its line and column.\n" +
			"Host names of backends are looked up; nothing is bound and nothing is connected to.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if path == "" {
				return misused("no file to check: give one with -c FILE")
			}
			file, err := configs.Load(path)
			if err != nil {
				return err
			}
			backends := 0
			for _, p := range file.Pools {
				backends += len(p.Config.Backends)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: ok: %s, %s, %s\n", path, plural(len(file.Listeners), "listener"),
				plural(len(file.Pools), "pool"), plural(backends, "backend"))
			return err
		},
	}
	configFlag(c, &path)
	return c
}

// configFlag gives a command the flag for the configuration file.
func configFlag(c *cobra.Command, path *string) {
	c.Flags().StringVarP(path, "config", "c", "", "configuration `FILE`")
	_ = c.MarkFlagFilename("config", "yaml", "yml") // fails only for a flag that does not exist
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
