package configs

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/goccy/go-yaml/ast"

	"sluice/l4/clients"
)

func readAllow(d *decoder, v value, to *listenerDraft) {
	before := len(d.problems)
	count := d.networks(v, &to.Allow)
	if len(d.problems) > before {
		return
	}
	if err := to.Allow.checkSomebody(count); err != nil {
		d.reportAt(v, "%v", err)
	}
}

func readDeny(d *decoder, v value, to *listenerDraft) { d.networks(v, &to.Deny) }

// networks reads a list of networks, addresses and files of them, and returns how many networks there are in all. What
// is in the files is not kept: it is read again when it is needed.
func (d *decoder) networks(v value, to *Networks) (count int) {
	const want = "a network (ADDRESS/BITS), a single address or {file: PATH}"
	for _, item := range d.items(v, want) {
		switch item.node.(type) {
		case *ast.MappingNode, *ast.MappingValueNode:
			count += d.networksFile(item, to)
			continue
		}
		text, ok := d.string(item, want)
		if !ok {
			continue
		}
		network, err := parsePrefix(text)
		if err != nil {
			d.reportAt(item, "%v", err)
			continue
		}
		to.List = append(to.List, network)
		count++
	}
	return count
}

// networksFile notes a file of networks and returns how many it holds.
func (d *decoder) networksFile(v value, to *Networks) int {
	var name string
	before := len(d.problems)
	networkFileFields.decode(d, v, &name)
	if len(d.problems) > before {
		return 0
	}
	path := d.path(v, name)
	count, errs := d.readNetworks(path)
	for _, err := range errs {
		d.reportAt(v, "%s: %v", v.name, err)
	}
	to.Files = append(to.Files, path)
	return count
}

func checkNoEmptyPath(text string) error {
	if text == "" {
		return errors.New("is empty: write the path of a file")
	}
	return nil
}

func checkStateFile(text string) error {
	if text != "" && !filepath.IsAbs(text) {
		return fmt.Errorf("%s is not absolute: begin it with /", quote(text))
	}
	return nil
}

// A perClientDraft is limits per client whose keys are held against each other when all were read.
type perClientDraft struct {
	clients.Limits
	keyNotes
}

func readPerClient(d *decoder, v value, to *listenerDraft) {
	var p perClientDraft
	before := len(d.problems)
	perClientFields.decode(d, v, &p)
	burst, hasBurst := p.given["burst"]
	prefix, hasPrefix := p.given["ipv6_prefix"]
	switch err := p.Check(); {
	case len(d.problems) > before:
	case len(p.given) == 0:
		d.reportAt(v, "per_client is empty: write sessions, rate or both, for example {sessions: 100, rate: 50/s}")
	case p.Sessions == 0 && p.Rate == 0 && hasPrefix:
		d.report(prefix.at, "ipv6_prefix is of no use without a limit: add sessions or rate, or remove it")
	case hasBurst && p.Rate == 0:
		d.report(burst.at, "burst is of no use without a rate: add one, for example rate: 50/s, or remove it")
	case err != nil: // each by itself is right
		d.reportAt(burst, "%v: write a smaller burst, or a higher rate", err)
	}
	to.PerClient = p.Limits
}

// rateForm is a rate, and rateUnits are the seconds in its units.
var (
	rateForm  = regexp.MustCompile(`^([0-9]+)/([smh])$`)
	rateUnits = map[string]float64{"s": 1, "m": 60, "h": 3600}
)

// readRate reads a number of sessions per second, minute or hour.
func readRate(d *decoder, v value, to *perClientDraft) {
	rate, ok := d.rate(v)
	if !ok {
		return
	}
	to.Rate = rate
	if err := (clients.Limits{Rate: to.Rate}).Check(); err != nil {
		d.reportAt(v, "%v", err)
	}
}

// rate reads a number of sessions per second, minute or hour.
func (d *decoder) rate(v value) (perSecond float64, ok bool) {
	const want = "a whole number of sessions per second, minute or hour, for example 50/s"
	if !d.present(v, want) {
		return 0, false
	}
	text := scalarText(v.node)
	parts := rateForm.FindStringSubmatch(text)
	switch {
	case bareNumber.MatchString(text):
		d.reportAt(v, "rate is a number without a unit: write a unit, for example 50/s, 50/m or 50/h")
		return 0, false
	case parts == nil:
		d.wrongType(v, want+" (the units are s, m, h)")
		return 0, false
	}
	count, _ := strconv.ParseFloat(parts[1], 64) // digits; too many of them are infinite
	return count / rateUnits[parts[2]], true
}
