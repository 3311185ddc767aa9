package configs

import (
	"fmt"
	"os"
	"regexp"

	"github.com/goccy/go-yaml/ast"
)

// A decoder reads one configuration, from one file or several.
type decoder struct {
	findings
	sources []*source
	env     lookupEnv

	expanded, substituted int // see expander

	under        underlays
	underlaid    map[ast.Node][]pair // see underPairs
	pools        map[string]bool     // names, also of pools that have problems
	poolNames    []string            // the same in order
	poolAt       []place             // of each
	poolRefs     []poolRef           // where pools are named
	adminListens bool                // the file sets admin.listen
	checks       []checkSite         // one for each pool
	sourceSites  []sourceSite        // one for each pool that has source
	sideFiles    sideFiles
	mayBeEmpty   bool // see SourceText.Generated
}

func newDecoder(sources ...*source) *decoder {
	d := &decoder{sources: sources, env: os.LookupEnv, pools: make(map[string]bool), underlaid: make(map[ast.Node][]pair)}
	for _, s := range sources {
		d.order = append(d.order, s.file)
	}
	return d
}

// place returns where a node begins. The token of a block mapping is the colon of its first pair, so look at the key.
func (d *decoder) place(n ast.Node) place {
	switch m := n.(type) {
	case nil:
		return d.sources[0].at(1, 1)
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

	under     ast.Node // what a mapping takes from defaults where it says nothing itself
	inherited bool     // it is from defaults
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
// everything that is no mapping or no plain key. what is the kind of key, such as "key" or "pool". After them come the
// pairs of merge keys, and then those from defaults, as far as their keys are not there yet.
func (d *decoder) pairs(v value, want, what string) []pair {
	if !d.present(v, want) {
		return nil
	}
	var pairs []pair
	var merged []value
	first := make(map[string]place)
	for _, n := range d.mapping(v, want) {
		if _, ok := n.Key.(*ast.MergeKeyNode); ok {
			merged = append(merged, value{name: "<<", at: d.place(n.Key), node: n.Value})
			continue
		}
		key, ok := d.key(n.Key)
		if !ok {
			continue
		}
		at := d.place(n.Key)
		if earlier, ok := first[key]; ok {
			d.report(at, "duplicate %s %s: the first is %s", what, quote(key), where(earlier, at))
		} else {
			first[key] = at
		}
		pairs = append(pairs, pair{key, value{name: key, at: at, node: n.Value, inherited: v.inherited}})
	}
	for _, m := range merged {
		pairs = addMissing(pairs, first, d.mergedPairs(m, what), v.inherited)
	}
	if _, ok := v.under.(*ast.MappingNode); ok && !v.inherited {
		defaults := d.underPairs(v, want, what)
		pairs = addMissing(pairs, first, defaults, true)
		for _, below := range defaults {
			for i := range pairs {
				if pairs[i].key == below.key && !pairs[i].value.inherited {
					pairs[i].value.under = below.value.node
				}
			}
		}
	}
	return pairs
}

// underPairs returns the pairs of what is below a mapping. Merge keys may make that much more than what is written, and
// there may be thousands of mappings above it: it is put together once.
func (d *decoder) underPairs(v value, want, what string) []pair {
	known, ok := d.underlaid[v.under]
	if !ok {
		known = d.pairs(value{name: v.name, at: v.at, node: v.under}, want, what)
		d.underlaid[v.under] = known
	}
	return known
}

// mergedPairs returns the pairs that a merge key stands for: those of a mapping, or of several, where the earlier wins.
func (d *decoder) mergedPairs(v value, what string) (pairs []pair) {
	const want = "a mapping or a list of mappings, for example <<: *common"
	first := make(map[string]place)
	for _, item := range d.items(v, want) {
		pairs = addMissing(pairs, first, d.pairs(item, want, what), false)
	}
	return pairs
}

// addMissing adds the pairs whose keys are not there yet. first has the keys that are.
func addMissing(to []pair, first map[string]place, from []pair, inherited bool) []pair {
	for _, p := range from {
		if _, ok := first[p.key]; ok {
			continue
		}
		first[p.key] = p.value.at
		p.value.inherited = p.value.inherited || inherited
		to = append(to, p)
	}
	return to
}

// where says where the first of two places is, for a message at the second.
func where(earlier, at place) string {
	if earlier.file != at.file {
		return fmt.Sprintf("on line %d of %s", earlier.line, earlier.file)
	}
	return fmt.Sprintf("on line %d", earlier.line)
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
	default:
		d.report(d.place(n), "%s", notPlain)
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
	switch v.node.(type) {
	case nil, *ast.NullNode:
		d.report(v.at, "%s has no value: write %s", v.name, want)
	case *ast.AliasNode: // expand has reported why it is still there
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
