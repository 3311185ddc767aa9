package configs

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"
)

// Written is what was written of something, by the path of each key: "timeouts.idle" is "5m". What defaults say and
// merge keys bring is in it; what nobody wrote is not. A list or a mapping in a list is on one line.
type Written map[string]string

// written returns what a mapping says, without some of its keys.
func (d *decoder) written(v value, without ...string) Written {
	quiet := *d // what is wrong has been reported, or is yet to be
	w := make(Written)
	for _, p := range quiet.pairs(v, "", "key") {
		if !slices.Contains(without, p.key) {
			quiet.write(w, p.key, p.value)
		}
	}
	return w
}

func (d *decoder) write(to Written, path string, v value) {
	switch v.node.(type) {
	case nil:
	case *ast.MappingNode, *ast.MappingValueNode:
		for _, p := range d.pairs(v, "", "key") {
			d.write(to, path+"."+p.key, p.value)
		}
	default:
		to[path] = flow(v.node)
	}
}

// flow writes a node on one line.
func flow(n ast.Node) string {
	switch n := n.(type) {
	case *ast.SequenceNode:
		items := make([]string, len(n.Values))
		for i, item := range n.Values {
			items[i] = flow(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case *ast.MappingNode:
		pairs := make([]string, len(n.Values))
		for i, p := range n.Values {
			pairs[i] = flow(p)
		}
		return "{" + strings.Join(pairs, ", ") + "}"
	case *ast.MappingValueNode:
		return n.Key.GetToken().Value + ": " + flow(n.Value)
	case *ast.StringNode:
		if n.Value == "" || strings.ContainsFunc(n.Value, unicode.IsControl) {
			return strconv.Quote(n.Value)
		}
		return n.Value
	case nil:
		return ""
	}
	return n.GetToken().Value
}
