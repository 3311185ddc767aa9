package change

import (
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"

	"sluice/cmd/sluice/internal/overrides"
)

// Lines returns the change for people, a line for each thing: "+" is what comes, "-" what goes, "~" what is changed.
func (c *Change) Lines() (lines []string) {
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, k := range c.Settings {
		add("~ %s", k)
	}
	for _, l := range c.Listeners {
		lines = append(lines, l.lines("listener", l.Name)...)
	}
	for _, p := range c.Pools {
		lines = append(lines, p.lines("pool", p.Name)...)
		if p.What == Added {
			continue
		}
		for _, b := range p.Backends {
			lines = append(lines, b.lines("backend", p.Name+"/"+b.Name)...)
		}
	}
	for _, k := range c.Overrides {
		add("~ override %s: %s -> %s", k.Key, cmp.Or(k.From, "unset"), cmp.Or(k.To, "unset"))
	}
	for _, h := range c.Hidden {
		if h.Key == overrides.Added {
			add("! override %s/%s %s=%s has no effect: the file has the backend, at %s", h.Pool, h.Backend, h.Key, h.Value, h.InFile)
			continue
		}
		add("! override %s/%s %s=%s hides the file's %s", h.Pool, h.Backend, h.Key, h.Value, h.InFile)
	}
	for _, k := range c.Pending {
		add("! %s: waits for the next start or upgrade", k)
	}
	for _, s := range c.GoOn {
		add("! %s", s)
	}
	for _, w := range c.Warnings {
		add("! warning: %s", w)
	}
	return lines
}

// String returns Lines, each with its end.
func (c *Change) String() string {
	var b strings.Builder
	for _, line := range c.Lines() {
		b.WriteString(line + "\n")
	}
	return b.String()
}

// lines returns the lines of a thing of some kind.
func (t *Thing) lines(kind, name string) (lines []string) {
	switch t.What {
	case Added:
		line := "+ " + kind + " " + name
		if t.Address != "" && !strings.HasSuffix(name, "/"+t.Address) {
			line += " at " + t.Address
		}
		switch n := len(t.Backends); {
		case n == 1:
			line += " with 1 backend"
		case n > 1:
			line += fmt.Sprintf(" with %d backends", n)
		}
		return []string{line}
	case Removed:
		return []string{"- " + kind + " " + name}
	}
	for _, k := range t.Keys {
		lines = append(lines, fmt.Sprintf("~ %s %s %s", kind, name, k))
	}
	return lines
}

// String returns the key and how it changes. A value that nobody has written is "default".
func (k Key) String() string {
	if k.Secret {
		return k.Key
	}
	return fmt.Sprintf("%s: %s -> %s", k.Key, valueText(k.From), valueText(k.To))
}

// longest is how much of a value is shown.
const longest = 120

func valueText(value string) string {
	switch {
	case value == "":
		return "default"
	case utf8.RuneCountInString(value) > longest:
		return string([]rune(value)[:longest]) + "..."
	}
	return value
}
