package main

import (
	"github.com/spf13/cobra"

	"sluice/configs"
)

func newSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration, for editors",
		Long: "Print the JSON Schema of the configuration. Editors with a YAML language server complete and check with it:\n\n" +
			"  sluice schema > sluice.schema.json\n\n" +
			"and in the first line of a configuration # yaml-language-server: $schema=sluice.schema.json",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := c.OutOrStdout().Write(configs.Schema())
			return err
		},
	}
}
