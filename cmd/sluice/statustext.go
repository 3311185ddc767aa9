package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/l4"
	"sluice/pool"
	"sluice/pool/discovery"
)

// printStatus writes a status for people.
func printStatus(w io.Writer, s admin.Status) error {
	sessions := 0
	for _, l := range s.Loops {
		sessions += l.Sessions
	}
	state := "up"
	if s.Draining {
		state = "draining, up"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "sluice %s, %s %v, %s on %s\n", s.Version, state,
		time.Duration(s.Uptime*float64(time.Second)).Round(time.Second),
		plural(sessions, "session"), plural(len(s.Loops), "loop"))
	b.WriteString(generationText(s.Generation) + upgradeText(s.Upgrade) + "\n")
	listenerTable(s.Listeners).print(&b)
	for _, l := range s.Listeners {
		b.WriteString(listenerNotice(l))
	}
	b.WriteByte('\n')
	backendTable(s.Pools).print(&b)
	if len(s.Sources) > 0 {
		b.WriteByte('\n')
		sourceTable(s.Sources).print(&b)
		for _, source := range s.Sources {
			b.WriteString(sourceNotice(source))
		}
	}
	for _, p := range s.Pools {
		b.WriteString(poolNotice(p))
	}
	b.WriteString(overrideText(s.Overrides))
	if len(s.Ended) > 0 {
		b.WriteByte('\n')
		endedTable(s.Ended).print(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func listenerTable(listeners []l4.ListenerStats) *table {
	t := newTable("LISTENER", "ADDRESS", "POOLS", "SESSIONS>", "MAX>", "ACCEPTED>", "ERRORS>")
	for _, l := range listeners {
		limit := ""
		if l.MaxSessions > 0 {
			limit = strconv.Itoa(l.MaxSessions)
		}
		t.row(l.Name, addressList(l.Addresses), listText(l.Pools), l.Sessions, limit, l.Accepts, l.AcceptErrors)
	}
	return t
}

// addressList writes the addresses of a listener, as bound.
func addressList(addresses []pool.Address) string {
	texts := make([]string, len(addresses))
	for i, a := range addresses {
		text, _ := a.MarshalText() // it has no error
		texts[i] = string(text)
	}
	return strings.Join(texts, ",")
}

// maxListed is how many names fit into a cell: a listener may have a route to each of a thousand pools.
const maxListed = 4

// listText writes the first few names of a list.
func listText(names []string) string {
	if len(names) <= maxListed {
		return strings.Join(names, ",")
	}
	return fmt.Sprintf("%s,+%d", strings.Join(names[:maxListed-1], ","), len(names)-maxListed+1)
}

// listenerNotice is what somebody who looks must not miss of a listener; "" = nothing.
func listenerNotice(l l4.ListenerStats) (text string) {
	switch {
	case l.Leaving:
		text = fmt.Sprintf("\nlistener %s: takes no new sessions any more, %s on until the end\n", l.Name,
			oneOrMore(l.Sessions, "1 session goes", strconv.Itoa(l.Sessions)+" sessions go"))
	case l.AtLimit:
		text = fmt.Sprintf("\nlistener %s: at the limit of sessions, new connections wait\n", l.Name)
	case l.Resting:
		text = fmt.Sprintf("\nlistener %s: out of descriptors or memory, new connections wait\n", l.Name)
	}
	if c := l.Clients; c.Untracked > 0 {
		text += fmt.Sprintf("\nlistener %s: %s came in without limits per client: more than %s had some\n", l.Name,
			plural(int(c.Untracked), "session"), plural(c.Table, "client"))
	}
	return text
}

func backendTable(pools []admin.PoolStatus) *table {
	columns := []string{"POOL", "BACKEND", "ADDRESS", "STATE", "ROLE", "ACTIVE>", "WEIGHT>", "CONNECTS>", "FAILED>", "RECEIVED>", "SENT>"}
	found := slices.ContainsFunc(pools, func(p admin.PoolStatus) bool {
		return slices.ContainsFunc(p.Backends, func(b admin.BackendStatus) bool { return b.Source != "" })
	})
	if found {
		columns = append(columns, "SOURCE")
	}
	t := newTable(append(columns, "LAST CHECK")...)
	for _, p := range pools {
		for _, b := range p.Backends {
			t.row(backendRow(p.Name, b, backendState(b), found)...)
		}
		for _, b := range p.Leaving { // it was removed, and has sessions left
			t.row(backendRow(p.Name, b, "leaving", found)...)
		}
	}
	return t
}

func backendRow(pool string, b admin.BackendStatus, state string, found bool) []any {
	failed := uint64(0)
	for _, n := range b.ConnectFailures {
		failed += n
	}
	row := []any{
		pool, b.Name, b.Address, state, roleText(b.Check), b.Active, b.Weight, b.Connects, failed, byteText(b.Received), byteText(b.Sent),
	}
	if found {
		row = append(row, cmp.Or(discovery.Subject(b.Source), "-")) // how it is asked is in the table of sources
	}
	return append(row, checkText(b.Check))
}

// poolNotice is what somebody who looks must not miss of a pool; "" = nothing.
func poolNotice(p admin.PoolStatus) (text string) {
	if p.SplitBrain {
		text += fmt.Sprintf("\npool %s: SPLIT BRAIN: more than one server claims to be the primary\n", p.Name)
	}
	if p.Waiting > 0 {
		text += fmt.Sprintf("\npool %s: %s waiting for a backend (at most %d)\n", p.Name, plural(p.Waiting, "session"), p.QueueMax)
	}
	if p.FoundProblem != "" {
		text += fmt.Sprintf("\npool %s: what its sources have found is not in force: %s\n", p.Name, p.FoundProblem)
	}
	for _, l := range p.LeftOut[:min(len(p.LeftOut), maxListed)] {
		text += fmt.Sprintf("\npool %s: %s of %s is left out: %s\n", p.Name, l.Backend, l.Source, l.Problem)
	}
	return text
}

// backendState is one word for what decides whether a backend is given sessions, the strongest reason first.
func backendState(b admin.BackendStatus) string {
	state := "up"
	switch {
	case b.State != pool.Ready.String():
		state = b.State
	case b.Vanished:
		state = "vanished"
	case !b.Up:
		state = "down"
	case b.Ejected:
		state = "ejected"
	}
	if b.Backup {
		state += ",backup"
	}
	return state
}

// roleText is what a database server says it is, and how far a replica is behind.
func roleText(c admin.CheckStatus) string {
	switch {
	case c.Role == "":
		return "-"
	case c.Lag == nil || *c.Lag < 0.001:
		return c.Role
	}
	return c.Role + " -" + time.Duration(*c.Lag*float64(time.Second)).Round(time.Millisecond).String()
}

func checkText(c admin.CheckStatus) string {
	switch {
	case c.Reason != "":
		return c.Reason
	case c.LastProbe.IsZero():
		return "-"
	case c.Error != "":
		return c.Error
	}
	return "ok in " + time.Duration(c.Took*float64(time.Second)).Round(10*time.Microsecond).String()
}

func endedTable(ended []admin.EndedStatus) *table {
	t := newTable("ENDED", "LISTENER", "POOL", "SESSIONS>")
	for _, e := range ended {
		t.row(e.Reason, e.Listener, e.Pool, e.Count)
	}
	return t
}

// byteText writes a number of bytes with three digits or so.
func byteText(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, units := float64(n)/1024, "KMGTPE"
	for value >= 1024 {
		value, units = value/1024, units[1:]
	}
	if value < 10 {
		return fmt.Sprintf("%.1f %ciB", value, units[0])
	}
	return fmt.Sprintf("%.0f %ciB", value, units[0])
}
