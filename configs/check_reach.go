package configs

import (
	"fmt"
	"strings"

	"sluice/l4/route"
)

// maxTakers is how many routes one problem names.
const maxTakers = 3

// checkReach reports routes, and values in routes, for which no session is left, because earlier routes take them all. The
// look-up that sessions use says so itself. A listener with a route that is wrong by itself is looked at without that one.
func checkReach(d *decoder, routes []*routeDraft) {
	var (
		rules   []route.Rule
		numbers []int // of each rule among the routes, from 0
	)
	for i, r := range routes {
		if r.ok {
			rules, numbers = append(rules, r.Rule), append(numbers, i)
		}
	}
	table, err := route.New(rules)
	if err != nil {
		return // of all together; finishRoutes reports it
	}
	for _, shadow := range table.Shadows(rules) {
		of := routes[numbers[shadow.Rule]]
		by, them := takers(routes, numbers, shadow.By)
		if shadow.Value < 0 {
			d.report(of.at, "no session gets to this route: %s: move this one before %s, or remove it", by, them)
			continue
		}
		key := "sni"
		if len(of.Database) > 0 {
			key = "database"
		}
		v := of.values[key][shadow.Value]
		d.reportAt(v, "no session with %s %s gets here: %s: move this route before %s, or remove the name",
			key, quote(scalarText(v.node)), by, them)
	}
}

// takers says that these rules take all sessions, and with which word to go on about them.
func takers(routes []*routeDraft, numbers, by []int) (what, them string) {
	var names []string
	for _, i := range by[:min(len(by), maxTakers)] {
		names = append(names, fmt.Sprintf("route %d on line %d", numbers[i]+1, routes[numbers[i]].at.line))
	}
	if len(by) > maxTakers {
		names = append(names, fmt.Sprintf("%d more", len(by)-maxTakers))
	}
	last := len(names) - 1
	if last == 0 {
		return names[0] + " takes them all", "it"
	}
	return strings.Join(names[:last], ", ") + " and " + names[last] + " take them all", "them"
}
