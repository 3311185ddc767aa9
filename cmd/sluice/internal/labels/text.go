package labels

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"

	"sluice/pool/discovery/docker"
)

// line is a line of YAML, and whose labels say what is in it.
type line struct {
	text string
	by   []int
	pool string // of the line that begins a pool: its name

	// Of a line that one label alone is in: that label, and the key that it is there.
	label, key string
}

// text writes the plan as YAML. Pools are those that listeners or settings need, and that files have not.
func (p *plan) text(socket string) (lines []line) {
	add := func(s *said, format string, args ...any) {
		lines = append(lines, line{text: fmt.Sprintf(format, args...), by: s.by})
	}
	addLabel := func(s *said, label, key, format string) {
		lines = append(lines, line{text: fmt.Sprintf(format, quoted(s.text)), by: s.by, label: label, key: key})
	}
	nobody := new(said)
	if len(p.listeners) == 0 {
		add(nobody, "listeners: {}")
	} else {
		add(nobody, "listeners:")
	}
	for _, l := range p.listeners {
		add(&l.address, "  %s:", quoted(listenerName(l.address.text)))
		add(&l.address, "    bind: %s", quoted(l.address.text))
		addLabel(&l.protocol, docker.LabelProtocol, "protocol", "    protocol: %s")
		if len(l.pool.by) > 0 {
			add(&l.pool, "    pool: %s", quoted(l.pool.text))
		}
		if len(l.names) > 0 {
			add(&l.address, "    routes:")
		}
		for _, name := range slices.SortedFunc(maps.Keys(l.names), nearestFirst) {
			add(l.names[name], "      - {sni: %s, pool: %s}", quoted(name), quoted(l.names[name].text))
		}
	}
	begun := false
	for _, name := range slices.Sorted(maps.Keys(p.pools)) {
		pool := p.pools[name]
		if pool.known {
			continue
		}
		if !begun {
			add(nobody, "pools:")
			begun = true
		}
		lines = append(lines, line{text: fmt.Sprintf("  %s:", quoted(name)), by: pool.name.by, pool: name})
		add(&pool.name, "    discover: {docker: {socket: %s, pool: %s}}", quoted(socket), quoted(name))
		for _, key := range settingKeys {
			if s := pool.settings[key.label]; s != nil {
				addLabel(s, key.label, key.key, "    "+key.format)
			}
		}
	}
	if !begun {
		add(nobody, "pools: {}")
	}
	return lines
}

// nearestFirst orders names of TLS so that of several which take a session the one comes first that says most: a whole name
// before those with a star, and of these the longer ones.
func nearestFirst(a, b string) int {
	starred := func(name string) int {
		if strings.HasPrefix(name, "*") {
			return 1
		}
		return 0
	}
	if starred(a) == 1 && starred(b) == 1 {
		return cmp.Or(-cmp.Compare(strings.Count(a, "."), strings.Count(b, ".")), cmp.Compare(a, b))
	}
	return cmp.Or(cmp.Compare(starred(a), starred(b)), cmp.Compare(a, b))
}

// listenerName returns what the listener of an address is called. Names have no brackets, which are not needed either: the
// last colon is before the port.
func listenerName(address string) string {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:"
	if !strings.HasPrefix(address, ":") {
		address = "-" + strings.Replace(strings.TrimPrefix(address, "["), "]:", ":", 1)
	}
	safe := strings.Map(func(r rune) rune {
		if strings.ContainsRune(allowed, r) {
			return r
		}
		return '-'
	}, address)
	if safe != address { // another address may look the same now
		safe += fmt.Sprintf("-%08x", crc32.ChecksumIEEE([]byte(address)))
	}
	return "docker" + safe
}

// quoted writes text as YAML has it between double quotes, which is how JSON has it. A dollar begins a variable of the
// environment in a configuration, which is no business of a container's.
func quoted(text string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(strings.ReplaceAll(text, "$", "$$")) // a text can always be written
	return strings.TrimSuffix(b.String(), "\n")
}

// join returns lines as one text.
func join(lines []line) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.text)
		b.WriteByte('\n')
	}
	return b.String()
}

// digest returns a text that is another one when what containers say is: not when other containers say it.
func digest(containers []docker.Container, failed map[string]string) string {
	p := newPlan(containers, failed, nil, nil)
	slices.SortFunc(p.listeners, func(a, b *listener) int { return cmp.Compare(a.address.text, b.address.text) })
	return join(p.text("")) + strings.Join(p.warnings(), "\n")
}
