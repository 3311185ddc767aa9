package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/bench/record"
)

// options are the command line.
type options struct {
	numbers  []int // of sessions, at which sluice is measured
	runs     int   // upgrades at each of them
	sessions int   // in the comparison
	upgrades int   // in a row, there
	systems  []system
	watched  int           // sessions that ask all the time
	rest     time.Duration // of each of them after a reply
	rate     int           // messages a second of all the others
	look     time.Duration // how long the clients look at an upgrade at least
	calm     time.Duration // how long nothing must have ended for that what is left counts as what stays
	out      string
	bin      string // where sluice is; "": it is built
	partial  bool
	stdout   io.Writer
	stderr   io.Writer // progress
}

func parseOptions(args []string) (o options, err error) {
	o.stdout, o.stderr, o.calm = os.Stdout, os.Stderr, time.Second
	flags := flag.NewFlagSet("upgrade", flag.ContinueOnError)
	numbers := flags.String("at", "100,500,1000,2000,4000,8000", "`numbers` of sessions at which sluice is upgraded, separated by commas; \"\" = none")
	only := flags.String("systems", "sluice,haproxy,nginx", "`programs` that are compared, separated by commas; \"\" = none")
	flags.IntVar(&o.runs, "runs", 10, "upgrades at each number of sessions")
	flags.IntVar(&o.sessions, "sessions", 4000, "sessions in the comparison")
	flags.IntVar(&o.upgrades, "upgrades", 10, "upgrades of each system in the comparison")
	flags.IntVar(&o.watched, "watched", 50, "sessions that ask all the time")
	flags.DurationVar(&o.rest, "rest", 2*time.Millisecond, "how long they rest after each reply")
	flags.IntVar(&o.rate, "rate", 2000, "messages a second of all other sessions together")
	flags.DurationVar(&o.look, "look", 300*time.Millisecond, "how long an upgrade is looked at, at least")
	flags.StringVar(&o.out, "out", "bench/results", "`folder` for the result of a complete run; \"\" = print only")
	flags.StringVar(&o.bin, "bin", "", "`folder` with the program sluice; \"\" = it is built")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, errors.New("want no arguments")
	}
	if min(o.runs, o.upgrades, o.sessions/max(o.upgrades, 1), o.watched, o.rate) < 1 || min(o.rest, o.look) <= 0 {
		return o, errors.New("want positive numbers, and at least one session before each upgrade")
	}
	flags.Visit(func(f *flag.Flag) { o.partial = o.partial || f.Name != "out" && f.Name != "bin" })
	if o.numbers, err = parseNumbers(*numbers); err != nil {
		return o, fmt.Errorf("-at: %w", err)
	}
	o.systems, err = chooseSystems(*only)
	return o, err
}

func parseNumbers(list string) (numbers []int, err error) {
	if list == "" {
		return nil, nil
	}
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a number of sessions", text)
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

func chooseSystems(list string) (chosen []system, err error) {
	if list == "" {
		return nil, nil
	}
	programs := strings.Split(list, ",")
	for _, program := range programs {
		known := func(s system) bool { return strings.EqualFold(s.program, program) }
		if !slices.ContainsFunc(systems(), known) {
			return nil, fmt.Errorf("-systems: there is no %q", program)
		}
	}
	for _, s := range systems() {
		if slices.ContainsFunc(programs, func(program string) bool { return strings.EqualFold(s.program, program) }) {
			chosen = append(chosen, s)
		}
	}
	return chosen, nil
}

// versions asks the programs that take part for theirs.
func (o *options) versions() (all []string) {
	used := map[string]bool{sluice: len(o.numbers) > 0}
	for _, s := range o.systems {
		used[s.program] = true
	}
	if used[sluice] {
		all = append(all, record.Version(filepath.Join(o.bin, "sluice"), "version"))
	}
	if used[haproxy] {
		all = append(all, record.Version("haproxy", "-v"))
	}
	if used[nginx] {
		all = append(all, record.Version("nginx", "-v"))
	}
	return all
}
