package configs

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// A decoder reads one file.
type decoder struct {
	findings
	file  string
	text  string
	lines []string

	pools        []string    // names, also of pools that have problems
	poolRefs     []poolRef   // where pools are named
	adminListens bool        // the file sets admin.listen
	checks       []checkSite // one for each pool
}

func newDecoder(name string, data []byte) *decoder {
	s := text(data)
	return &decoder{file: name, text: s, lines: strings.Split(s, "\n")}
}

// at returns a place in the file; it moves a position that lies outside to the nearest one inside.
func (d *decoder) at(line, column int) place {
	line = min(max(line, 1), len(d.lines))
	source := d.lines[line-1]
	column = min(max(column, 1), utf8.RuneCountInString(source)+1)
	return place{file: d.file, line: line, column: column, source: maskPassword(source)}
}

// passwordValue matches a password that somebody wrote into the file, and what follows it on the line.
var passwordValue = regexp.MustCompile(`(?i)(\bpassword["']?[ \t]*:[ \t]*)(.+)`)

// maskPassword returns a line as it may be shown: problems end up in logs. The columns stay what they are.
func maskPassword(line string) string {
	at := passwordValue.FindStringSubmatchIndex(line)
	if at == nil {
		return line
	}
	return line[:at[4]] + strings.Repeat("*", utf8.RuneCountInString(line[at[4]:]))
}

func (d *decoder) tokenPlace(t *token.Token) place {
	if t == nil || t.Position == nil {
		return d.at(1, 1)
	}
	return d.at(t.Position.Line, t.Position.Column)
}

// place returns where a node begins. The token of a block mapping is the colon of its first pair, so look at the key.
func (d *decoder) place(n ast.Node) place {
	switch m := n.(type) {
	case nil:
		return d.at(1, 1)
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return d.place(m.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return d.place(m.Key)
	}
	return d.tokenPlace(n.GetToken())
}

// A value is a node with what messages call it, and the place where something missing in it is reported.
type value struct {
	name string
	at   place
	node ast.Node
}

func (d *decoder) reportAt(v value, format string, args ...any) {
	d.report(d.place(v.node), format, args...)
}

// A pair is one key of a mapping and its value, whose place is the key's.
type pair struct {
	key   string
	value value
}

// pairs returns the pairs of a mapping in order, also those with duplicate keys; these are reported, and so is
// everything that is no mapping or no plain key. what is the kind of key, such as "key" or "pool".
func (d *decoder) pairs(v value, want, what string) []pair {
	if !d.present(v, want) {
		return nil
	}
	var pairs []pair
	first := make(map[string]place)
	for _, n := range d.mapping(v, want) {
		key, ok := d.key(n.Key)
		if !ok {
			continue
		}
		at := d.place(n.Key)
		if earlier, ok := first[key]; ok {
			d.report(at, "duplicate %s %s: the first is on line %d", what, quote(key), earlier.line)
		} else {
			first[key] = at
		}
		pairs = append(pairs, pair{key, value{name: key, at: at, node: n.Value}})
	}
	return pairs
}

// gluedKey matches text that was meant to be a key and a value.
var gluedKey = regexp.MustCompile(`^[a-z_]+:`)

func (d *decoder) mapping(v value, want string) []*ast.MappingValueNode {
	switch m := v.node.(type) {
	case *ast.MappingNode:
		return m.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}
	case *ast.StringNode:
		if gluedKey.MatchString(m.Value) {
			want += " (with a space after each colon)"
		}
	}
	d.wrongType(v, want)
	return nil
}

// key returns the text of a mapping's key.
func (d *decoder) key(n ast.MapKeyNode) (string, bool) {
	switch k := n.(type) {
	case *ast.StringNode:
		return k.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
		d.report(d.place(n), "key %s is not text: put it in quotes", n.GetToken().Value)
	case *ast.MergeKeyNode:
		d.report(d.place(n), "merge keys (<<) are not supported: write the settings out")
	default:
		d.report(d.place(n), "this key is not plain text: write it as KEY: VALUE")
	}
	return "", false
}

// items returns the elements of a list. One scalar or mapping stands for a list of itself.
func (d *decoder) items(v value, want string) []value {
	if !d.present(v, want) {
		return nil
	}
	list, ok := v.node.(*ast.SequenceNode)
	if !ok {
		return []value{v}
	}
	if len(list.Values) == 0 {
		d.reportAt(v, "%s is an empty list: write %s", v.name, want)
	}
	items := make([]value, len(list.Values))
	for i, n := range list.Values {
		items[i] = value{name: v.name, at: d.place(n), node: n}
	}
	return items
}

// present reports whether there is a value of a kind that is supported at all; it reports why not.
func (d *decoder) present(v value, want string) bool {
	switch n := v.node.(type) {
	case nil, *ast.NullNode:
		d.report(v.at, "%s has no value: write %s", v.name, want)
	case *ast.AliasNode:
		switch text := n.String(); {
		case strings.HasPrefix(text, "*:"): // as in HAProxy's "bind *:80"
			d.reportAt(v, `"*" begins a YAML alias: to listen on every address write ":PORT" in quotes`)
		case strings.HasPrefix(text, "*."): // as in "sni: *.example.com"
			d.reportAt(v, `"*" begins a YAML alias: put it in quotes, as in "*.example.com"`)
		default:
			d.reportAt(v, "YAML aliases are not supported: write the value out")
		}
	case *ast.AnchorNode:
		d.reportAt(v, "YAML anchors are not supported: remove the name after &")
	case *ast.TagNode:
		d.reportAt(v, "YAML tags are not supported: remove the word after !")
	case *ast.LiteralNode:
		d.reportAt(v, "%s is a block of text: write %s", v.name, want)
	default:
		return true
	}
	return false
}

func (d *decoder) wrongType(v value, want string) {
	d.reportAt(v, "%s must be %s, not %s", v.name, want, describe(v.node))
}

func describe(n ast.Node) string {
	switch n := n.(type) {
	case *ast.StringNode:
		return quote(n.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + n.GetToken().Value
	case *ast.BoolNode:
		return n.GetToken().Value
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	}
	return "this"
}

// A field is one key of a mapping that is read into a T.
type field[T any] struct {
	key string

	// read reads the value; nil: the key is documented, and this version does not support it yet.
	read func(d *decoder, v value, to *T)

	// instead says what to write in place of a key that will never be supported.
	instead string

	// example makes the key a required one, and is shown to who left it out; where the key unless is, it is not required.
	example, unless string

	// sub lists the keys of the mappings below this key.
	sub table
}

// A table is the keys of one kind of mapping, whatever they are read into.
type table interface {
	// supported returns the path of every key that can be set, the keys of sub-tables after a dot.
	supported() []string
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
		case fs[i].instead != "":
			d.report(p.value.at, "%s %s", p.key, fs[i].instead)
		case fs[i].read == nil:
			d.report(p.value.at, "%s is not supported yet by this version of sluice: remove it", p.key)
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
	if len(pairs) == 0 && len(d.problems) == before {
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
