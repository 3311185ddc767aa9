package configs

import (
	"github.com/goccy/go-yaml/ast"
)

// joinFiles makes one mapping of the roots of several files. What two files say is put together where it has names, so
// that a name given twice is found like one given twice in a file.
func (d *decoder) joinFiles(roots []ast.Node) ast.Node {
	var whole *ast.MappingNode
	for _, root := range roots {
		m, ok := root.(*ast.MappingNode)
		switch {
		case !ok:
			d.wrongType(value{name: "the file", node: root}, fileFields.want())
		case whole == nil:
			whole = m
		default:
			joinMappings(whole, m, 2)
		}
	}
	if whole == nil {
		return nil
	}
	return whole
}

// joinMappings adds the pairs of another file to a mapping. Mappings under the same key are joined too, so many levels
// down.
func joinMappings(to, from *ast.MappingNode, levels int) {
	at := make(map[string]*ast.MappingNode)
	for _, pair := range to.Values {
		if m, ok := pair.Value.(*ast.MappingNode); ok && levels > 0 {
			at[pair.Key.GetToken().Value] = m
		}
	}
	for _, pair := range from.Values {
		key := pair.Key.GetToken().Value
		earlier := at[key]
		m, ok := pair.Value.(*ast.MappingNode)
		if earlier == nil || !ok {
			to.Values = append(to.Values, pair)
			continue
		}
		below := levels - 1
		if key != "defaults" {
			below = 0
		}
		joined := *earlier // an alias may stand for it elsewhere
		joined.Values = append([]*ast.MappingValueNode(nil), earlier.Values...)
		joinMappings(&joined, m, below)
		replaceValue(to, earlier, &joined)
		at[key] = &joined
	}
}

func replaceValue(in, old, by *ast.MappingNode) {
	for _, pair := range in.Values {
		if pair.Value == ast.Node(old) {
			pair.Value = by
		}
	}
}
