package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// usageError is an error of the caller, found after the command line itself was understood.
type usageError struct{ error }

func misused(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func (e usageError) Unwrap() error { return e.error }

// newRootCommand returns sluice with all its commands.
func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "sluice",
		Short: "sluice is a layer-4 TCP load balancer",
		Long: "sluice accepts TCP connections, picks a backend, tells it who the client is (PROXY protocol),\n" +
			"and moves the bytes in both directions.\n\n" +
			"Try it: sluice demo\n\n" +
			"Exit status: 0 done, 1 failed, 2 called wrongly, 3 the configuration is wrong.",
		Version: thisBuild().Version,
		RunE: func(c *cobra.Command, _ []string) error {
			c.SetOut(c.ErrOrStderr())
			return usageError{errors.Join(c.Help(), errors.New("no command was given"))}
		},
		DisableFlagsInUseLine: true,
		// Errors are printed by execute, on one line, and a run-time error is no reason to explain the flags.
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("sluice {{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w (%s --help lists the flags)", err, c.CommandPath())
	})
	root.AddCommand(newRunCommand(), newCheckCommand(), newInitCommand(), newSchemaCommand(), newDemoCommand(), newStatusCommand(),
		newReloadCommand(), newUpgradeCommand(), newDiffCommand(), newSetCommand(), newUnsetCommand(), newDrainCommand(), newMaintCommand(),
		newReadyCommand(), newAddCommand(), newRemoveCommand(), newSessionsCommand(), newKillCommand(), newRebalanceCommand(),
		newVersionCommand(), newCompletionCommand())
	root.SetHelpCommand(newHelpCommand(root))
	return root
}

// noArguments is cobra.NoArgs with a message that does not take an argument for a command.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return misused("unexpected argument %q (%s --help explains)", args[0], c.CommandPath())
	}
	return nil
}

// newHelpCommand replaces the library's own, which takes help for an unknown command as a success.
func newHelpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Explain a command",
		RunE: func(_ *cobra.Command, args []string) error {
			c, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return misused("unknown command %q (sluice --help lists them)", strings.Join(args, " "))
			}
			c.InitDefaultHelpFlag()
			return c.Help()
		},
	}
}
