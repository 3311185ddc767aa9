package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// options are the command line.
type options struct {
	quick    bool
	rounds   int
	duration time.Duration
	out      string
	rows     []row
	systems  []system
	partial  bool // not everything that a full or quick run has
	stdout   io.Writer
	stderr   io.Writer // progress
}

func parseOptions(args []string) (o options, err error) {
	o.stdout, o.stderr = os.Stdout, os.Stderr
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.BoolVar(&o.quick, "quick", false, "the main rows only, in two minutes")
	flags.IntVar(&o.rounds, "rounds", 3, "how often everything is measured; medians are shown")
	flags.DurationVar(&o.duration, "duration", 0, "length of one measurement; 0 = 1.5s, with -quick 1s")
	flags.StringVar(&o.out, "out", "bench/results", "`folder` for the result of a complete run; \"\" = print only")
	onlyRows := flags.String("only", "", "measure only these `rows`, separated by commas")
	onlySystems := flags.String("systems", "", "measure only these `programs`, separated by commas: sluice, haproxy, nginx, io.copy")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 || o.rounds < 1 || o.duration < 0 {
		return o, errors.New("want no arguments, and positive rounds and duration")
	}
	if o.duration == 0 {
		o.duration = 1500 * time.Millisecond
		if o.quick {
			o.duration = time.Second
		}
	}
	o.partial = *onlyRows != "" || *onlySystems != ""
	o.rows, err = chosen(rows(), *onlyRows, func(r row) string { return r.name })
	if err != nil {
		return o, fmt.Errorf("-only: %w", err)
	}
	o.systems, err = chosen(systems(), *onlySystems, func(s system) string { return s.rival })
	if err != nil {
		return o, fmt.Errorf("-systems: %w", err)
	}
	if o.quick && *onlyRows == "" {
		o.rows = slices.DeleteFunc(o.rows, func(r row) bool { return !r.quick })
	}
	if o.quick {
		o.systems = slices.DeleteFunc(o.systems, func(s system) bool { return !s.quick })
	}
	return o, nil
}

// chosen returns the items whose names are in list, all for an empty one.
func chosen[T any](items []T, list string, name func(T) string) (some []T, err error) {
	if list == "" {
		return items, nil
	}
	for want := range strings.SplitSeq(list, ",") {
		found := false
		for _, item := range items {
			if strings.EqualFold(name(item), want) {
				some = append(some, item)
				found = true
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no %q", want)
		}
	}
	return some, nil
}
