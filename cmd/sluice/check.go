package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"sluice/configs"
)

// checkOptions are the flags of check.
type checkOptions struct {
	paths           []string
	asJSON          bool
	offline, strict bool
}

func newCheckCommand() *cobra.Command {
	var o checkOptions
	c := &cobra.Command{
		Use:   "check FILE...",
		Short: "Check a configuration and print everything that is wrong with it",
		Long: "Check a configuration and print everything that is wrong with it, each with its line and column.\n" +
			"Sources of backends are asked once, and what they do not answer is a warning. Nothing is bound, and nothing else\n" +
			"is connected to.\n\n" +
			"Several files, or a folder of *.yaml and *.yml, are one configuration; - is the standard input.\n" +
			"The exit status is 3 when something is wrong.",
		RunE: func(c *cobra.Command, args []string) error {
			o.paths = append(o.paths, args...)
			if len(o.paths) == 0 {
				return misused("no file to check: give one")
			}
			return o.check(c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	configFlag(c, &o.paths)
	c.Flags().BoolVar(&o.asJSON, "json", false, "print what was found as JSON, on standard output")
	c.Flags().BoolVar(&o.offline, "offline", false, "ask no source of backends, look up no host names, and read no other files that the configuration names")
	c.Flags().BoolVar(&o.strict, "strict", false, "fail on warnings too")
	return c
}

// A checkResult is what check --json prints.
type checkResult struct {
	OK        bool             `json:"ok"`
	Problems  configs.Problems `json:"problems"` // what is wrong
	Warnings  configs.Problems `json:"warnings"` // what is hardly meant; not looked for while something is wrong
	Listeners int              `json:"listeners"`
	Pools     int              `json:"pools"`
	Backends  int              `json:"backends"`          // that are written
	Sources   int              `json:"sources,omitempty"` // that others come from
}

// errChecked says that what is wrong has been printed.
var errChecked = errors.New("the configuration is wrong")

func (o *checkOptions) check(out, problems io.Writer) error {
	load := configs.Load
	if o.offline {
		load = configs.LoadOffline
	}
	file, err := load(o.paths...)
	result := checkResult{Problems: configs.Problems{}, Warnings: configs.Problems{}}
	if err != nil && !errors.As(err, &result.Problems) {
		return err
	}
	if file != nil {
		if !o.offline {
			file.Warnings = append(file.Warnings, askSources(file)...)
		}
		result.count(file)
	}
	result.OK = err == nil && !(o.strict && len(result.Warnings) > 0)
	if o.asJSON {
		err = json.NewEncoder(out).Encode(result)
	} else {
		err = o.print(out, problems, &result)
	}
	switch {
	case err != nil || result.OK:
		return err
	case len(result.Problems) > 0 && !isWrongConfig(result.Problems):
		return errChecked
	}
	return configError{errChecked}
}

func (r *checkResult) count(file *configs.File) {
	r.Warnings = append(r.Warnings, file.Warnings...)
	r.Listeners, r.Pools = len(file.Listeners), len(file.Pools)
	for _, p := range file.Pools {
		r.Backends += len(p.Config.Backends)
		for _, e := range p.Entries {
			if e.Name != "" {
				r.Backends++
			} else {
				r.Sources++
			}
		}
	}
}

func (o *checkOptions) print(out, problems io.Writer, r *checkResult) error {
	if len(r.Problems) > 0 {
		_, err := fmt.Fprintln(problems, r.Problems)
		return err
	}
	for _, w := range r.Warnings {
		w.Message = "warning: " + w.Message
		if _, err := fmt.Fprintln(problems, configs.Problems{w}); err != nil {
			return err
		}
	}
	if !r.OK {
		return nil
	}
	sources := ""
	if r.Sources > 0 {
		sources = ", " + plural(r.Sources, "source")
	}
	_, err := fmt.Fprintf(out, "%s: ok: %s, %s, %s%s\n", strings.Join(o.paths, ", "),
		plural(r.Listeners, "listener"), plural(r.Pools, "pool"), plural(r.Backends, "backend"), sources)
	return err
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
