package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sluice/cmd/sluice/internal/labels"
	"sluice/configs"
	"sluice/pool/discovery/docker"
)

// checkOptions are the flags of check.
type checkOptions struct {
	paths           []string
	docker          string
	asJSON          bool
	offline, strict bool
}

func newCheckCommand() *cobra.Command {
	var o checkOptions
	c := &cobra.Command{
		Use:   "check (FILE... | -c FILE... | --docker[=SOCKET] [FILE...])",
		Short: "Check a configuration and print everything that is wrong with it",
		Long: "Check a configuration and print everything that is wrong with it, each with its line and column.\n" +
			"Sources of backends are asked once, and what they do not answer is a warning. Nothing is bound, and nothing else\n" +
			"is connected to.\n\n" +
			"Several files, or a folder of *.yaml and *.yml, are one configuration; - is the standard input. With --docker,\n" +
			"labels of containers are a part of it, and what they make is printed as YAML.\n" +
			"The exit status is 3 when something is wrong.",
		RunE: func(c *cobra.Command, args []string) error {
			if err := strayed(o.docker, args); err != nil {
				return err
			}
			o.paths = append(o.paths, args...)
			switch {
			case len(o.paths) == 0 && o.docker == "":
				return misused("no file to check: give one")
			case o.offline && o.docker != "":
				return misused("--offline does not go with --docker: a Docker Engine is asked")
			}
			return o.check(c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	configFlag(c, &o.paths)
	dockerFlag(c, &o.docker)
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
	YAML      string           `json:"yaml,omitempty"`    // what was made of labels
}

// errChecked says that what is wrong has been printed.
var errChecked = errors.New("the configuration is wrong")

func (o *checkOptions) check(out, problems io.Writer) error {
	result := checkResult{Problems: configs.Problems{}, Warnings: configs.Problems{}}
	file, err := o.load(&result)
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

// load reads the configuration, and notes what is said of labels.
func (o *checkOptions) load(r *checkResult) (*configs.File, error) {
	switch {
	case o.docker != "":
		return o.loadLabels(r)
	case o.offline:
		return configs.LoadOffline(o.paths...)
	}
	return configs.Load(o.paths...)
}

func (o *checkOptions) loadLabels(r *checkResult) (*configs.File, error) {
	socket, err := dockerSocket(o.docker)
	if err != nil {
		return nil, err
	}
	var files []configs.SourceText
	if len(o.paths) > 0 {
		if files, err = configs.ReadTexts(o.paths...); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), firstLabels)
	defer cancel()
	containers, err := docker.List(ctx, socket)
	if err != nil {
		return nil, err
	}
	resolved, err := labels.Resolve(files, socket, containers)
	if err != nil {
		return nil, err
	}
	for _, w := range append(slices.Clip(resolved.Warnings), resolved.Idle(containers)...) {
		r.Warnings = append(r.Warnings, configs.Problem{File: socket, Message: w})
	}
	r.YAML = resolved.YAML
	return resolved.File, nil
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
	checked := o.paths
	if r.YAML != "" { // a file that can be used: the rest is a comment
		checked = append([]string{"# labels"}, o.paths...)
		if _, err := io.WriteString(out, r.YAML); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "%s: ok: %s, %s, %s%s\n", strings.Join(checked, ", "),
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
