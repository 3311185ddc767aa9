package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice/configs"
)

// Exit statuses. A supervisor may try again after exitFailed, but not after the others.
const (
	exitOK      = 0
	exitFailed  = 1
	exitMisused = 2
	exitConfig  = 3
)

func main() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) }

// execute runs one command line and returns the exit status.
func execute(args []string, stdout, stderr io.Writer) int {
	called := false // the command line was understood
	root := newRootCommand()
	root.PersistentPreRun = func(*cobra.Command, []string) { called = true }
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	if err == nil {
		return exitOK
	}
	if !errors.Is(err, errChecked) {
		reportError(stderr, err)
	}
	if misuse := (usageError{}); !called || errors.As(err, &misuse) {
		return exitMisused
	}
	if isWrongConfig(err) {
		return exitConfig
	}
	return exitFailed
}

// configError is an error of the configuration that has no Problems.
type configError struct{ error }

func (e configError) Unwrap() error { return e.error }

// withProblems is an error that goes with problems of a configuration: those are what is printed.
type withProblems struct {
	error
	problems configs.Problems
}

func (e withProblems) Unwrap() []error { return []error{e.error, e.problems} }

// isWrongConfig reports whether an error is of the configuration. One of names that do not resolve now is not.
func isWrongConfig(err error) bool {
	problems := configs.Problems(nil)
	if errors.As(err, &problems) {
		return slices.ContainsFunc(problems, func(p configs.Problem) bool { return !unresolved(p) })
	}
	return errors.As(err, new(configError))
}

// reportError prints an error, and gives up when nobody reads it: the process is to end.
func reportError(w io.Writer, err error) {
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		printError(w, err)
	}()
	select {
	case <-printed:
	case <-time.After(flushTime):
	}
}

// printError prints an error on one line. Problems of a configuration have their own form, with a place each.
func printError(w io.Writer, err error) {
	if problems := configs.Problems(nil); errors.As(err, &problems) {
		fmt.Fprintln(w, problems)
		return
	}
	// The command library spreads its suggestions over several lines.
	text := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n\n", ". ")
	fmt.Fprintln(w, "sluice:", strings.Join(strings.Fields(text), " "))
}
