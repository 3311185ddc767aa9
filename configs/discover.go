package configs

import (
	"cmp"
	"slices"
	"strings"

	"sluice/pool/discovery/file"
)

// A sourceDraft is an item of discover.
type sourceDraft struct {
	keyNotes
	SourceConfig
	pool string // whose item it is
}

var discoverFields = noteKeys(fields[sourceDraft]{
	{key: "dns", read: readDNS, sub: dnsFields, shape: shape{"anyOf": []shape{textShape, objectOf(dnsFields)}}},
	{key: "file", read: readSourceFile, shape: textShape},
	{
		key: "docker", read: readDocker, sub: dockerFields,
		shape: shape{"anyOf": []shape{textShape, {"type": "null"}, objectOf(dockerFields)}},
	},
})

// readDiscover reads the sources of a pool. Their template may come later.
func readDiscover(d *decoder, v value, to *poolDraft) {
	first := make(map[string]place)
	for _, item := range d.items(v, "a source or a list of sources, for example [{dns: app.internal:8080}]") {
		item.name = "source"
		s := sourceDraft{pool: to.Config.Name}
		before := len(d.problems)
		discoverFields.decode(d, item, &s)
		if len(d.problems) > before || s.count(d, item) != 1 {
			continue
		}
		key := s.Key()
		if earlier, ok := first[key]; ok {
			d.report(item.at, "duplicate source in pool %s: the first is %s, remove one of them", quote(to.Config.Name),
				where(earlier, item.at))
			continue
		}
		first[key] = item.at
		to.Entries = append(to.Entries, Entry{Source: s.SourceConfig, At: item.at.problem("", &d.shown)})
	}
}

// count returns how many sources an item is; it reports when that is not one.
func (s *sourceDraft) count(d *decoder, v value) int {
	var keys []string
	for _, key := range discoverFields.keys() {
		if _, ok := s.given[key]; ok {
			keys = append(keys, key)
		}
	}
	switch len(keys) {
	case 0:
		d.report(v.at, "a source has no key: write one of dns, file, docker, for example dns: app.internal:8080")
	case 1:
	default:
		d.report(v.at, "a source has %s: write each with a dash of its own", strings.Join(keys, " and "))
	}
	return len(keys)
}

func readSourceFile(d *decoder, v value, to *sourceDraft) {
	path := ""
	textField("file", "the path of a file with a list as under backends", func(s *string) *string { return s },
		checkNoEmptyPath).read(d, v, &path)
	if path != "" {
		to.File = &file.Config{Path: d.absolute(v, path)}
	}
}

// number sorts what discover finds behind the rest.
func (e *Entry) number() int {
	if e.Name == "" {
		return 1
	}
	return 0
}

// finishDiscover gives the entries what may be written after them, and refuses what nothing uses.
func (p *poolDraft) finishDiscover(d *decoder) {
	found := false // by discover
	for i := range p.Entries {
		e := &p.Entries[i]
		if e.Name == "" {
			found = true
			e.Before, e.Template = len(p.Config.Backends), p.template
		}
	}
	// Backends with a host name first, wherever discover stands.
	slices.SortStableFunc(p.Entries, func(a, b Entry) int { return cmp.Compare(a.number(), b.number()) })
	_, discovers := p.given["discover"]
	for _, key := range []string{"on_empty", "remove_after", "template"} {
		v, ok := p.given[key]
		switch {
		case !ok || v.inherited || discovers || p.bad["backends"]:
		case key == "template" && !found:
			d.report(v.at, "template is for what discover finds, and there is no discover: remove it, or add one")
		case len(p.Entries) == 0:
			d.report(v.at, "%s is for backends that come and go, and all are written with their addresses: remove it", key)
		}
	}
}
