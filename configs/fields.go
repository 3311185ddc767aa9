package configs

import (
	"fmt"
	"slices"
	"strings"
)

// A field is one key of a mapping that is read into a T.
type field[T any] struct {
	key string

	// read reads the value; nil: the key is refused, see instead.
	read func(d *decoder, v value, to *T)

	// instead says what to write in place of a key that will never be supported.
	instead string

	// example makes the key a required one, and is shown to who left it out; where the key unless is, it is not required.
	example, unless string

	// sub lists the keys of the mappings below this key.
	sub table

	// shape is what the JSON Schema says of the value; nil: sub does.
	shape shape
}

// A table is the keys of one kind of mapping, whatever they are read into.
type table interface {
	// supported returns the path of every key that can be set, the keys of sub-tables after a dot.
	supported() []string
	// object returns the shape of such a mapping.
	object() shape
}

// fields is a table for mappings that are read into a T.
type fields[T any] []field[T]

func (fs fields[T]) supported() []string {
	var paths []string
	for _, f := range fs {
		if f.read == nil {
			continue
		}
		paths = append(paths, f.key)
		if f.sub != nil {
			for _, below := range f.sub.supported() {
				paths = append(paths, f.key+"."+below)
			}
		}
	}
	return paths
}

func (fs fields[T]) keys() []string {
	var keys []string
	for _, f := range fs {
		if f.read != nil {
			keys = append(keys, f.key)
		}
	}
	return keys
}

// want says what a mapping is to have. Nobody reads a list of thirty keys to learn that a mapping is wanted.
func (fs fields[T]) want() string {
	const most, shown = 15, 5
	keys := fs.keys()
	if len(keys) > most {
		return "a mapping with keys such as " + strings.Join(keys[:shown], ", ")
	}
	return "a mapping with the keys " + strings.Join(keys, ", ")
}

func (fs fields[T]) advise(key string) string {
	if gluedKey.MatchString(key) {
		return "write a space after the colon"
	}
	return advise(key, fs.keys(), "keys")
}

// decode reads a mapping into to.
func (fs fields[T]) decode(d *decoder, v value, to *T) {
	problems := len(d.problems)
	seen := make(map[string]bool)
	for _, p := range d.pairs(v, fs.want(), "key") {
		seen[p.key] = true
		i := slices.IndexFunc(fs, func(f field[T]) bool { return f.key == p.key })
		switch {
		case i < 0:
			d.report(p.value.at, "unknown key %s in %s: %s", quote(p.key), v.name, fs.advise(p.key))
			seen[nearest(p.key, fs.keys())] = true // which is not missing besides
		case fs[i].instead != "":
			d.report(p.value.at, "%s %s", p.key, fs[i].instead)
		default:
			fs[i].read(d, p.value, to)
		}
	}
	if len(seen) == 0 && len(d.problems) > problems { // no mapping at all: what it lacks is no news
		return
	}
	for _, f := range fs {
		if f.example != "" && !seen[f.key] && (f.unless == "" || !seen[f.unless]) {
			d.report(v.at, "%s has no %s: add one, for example %s", v.name, f.key, f.example)
		}
	}
}

// section is a field that holds a mapping with fields of its own.
func section[T, S any](key string, sub fields[S], at func(*T) *S) field[T] {
	return field[T]{key: key, sub: sub, read: func(d *decoder, v value, to *T) { sub.decode(d, v, at(to)) }}
}

// named reads a mapping from names to things. Each value is called kind and name in messages.
func (d *decoder) named(v value, kind string, read func(name string, v value)) {
	want := fmt.Sprintf("a mapping from the name of each %s to its settings", kind)
	before := len(d.problems)
	pairs := d.pairs(v, want, kind)
	if len(pairs) == 0 && len(d.problems) == before && !d.mayBeEmpty {
		d.report(v.at, "%s is empty: write at least one %s", v.name, kind)
	}
	for _, p := range pairs {
		if err := checkName(p.key); err != nil {
			d.report(p.value.at, "%s %v", kind, err)
		}
		p.value.name = kind + " " + quote(p.key)
		read(p.key, p.value)
	}
}
