package configs

import (
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// An expander puts the nodes that aliases stand for in their place, and the values of variables. A node that many
// aliases stand for is not copied, so a few lines could stand for millions: what they come to is bounded.
type expander struct {
	*decoder
	anchors map[string]anchored
}

// An anchored is a node that has an anchor, and what it comes to.
type anchored struct {
	node ast.Node
	size int
}

const (
	// maxExpanded is what a file may come to by its aliases: in bytes of text, and nodeSize for every node.
	maxExpanded = 16 << 20
	nodeSize    = 32
	// maxSubstituted is how many bytes the values of variables may come to.
	maxSubstituted = 1 << 20
)

// expand returns the node that takes the place of one, and what it comes to. What could not be expanded, which has been
// reported, stays an AliasNode.
func (e *expander) expand(n ast.Node) (_ ast.Node, size int) {
	size = nodeSize
	switch n := n.(type) {
	case *ast.AnchorNode:
		value, size := e.expand(n.Value)
		e.anchors[n.Name.GetToken().Value] = anchored{value, size}
		return value, size
	case *ast.AliasNode:
		return e.alias(n)
	case *ast.MappingNode:
		for _, pair := range n.Values {
			value, below := e.expand(pair.Value)
			pair.Value = value
			size += below + nodeSize
		}
	case *ast.SequenceNode:
		for i := range n.Values {
			value, below := e.expand(n.Values[i])
			n.Values[i] = value
			size += below
		}
	case *ast.StringNode:
		return e.text(n)
	}
	return n, min(size, maxExpanded+1)
}

func (e *expander) alias(n *ast.AliasNode) (ast.Node, int) {
	name := n.Value.GetToken().Value
	to, ok := e.anchors[name]
	e.expanded += to.size
	switch {
	case ok && e.expanded <= maxExpanded:
		return to.node, to.size
	case ok && e.expanded-to.size <= maxExpanded:
		e.reportAt(value{node: n}, "the aliases so far stand for more than %d MiB: this is not a configuration of sluice", maxExpanded>>20)
	case ok: // reported
	case strings.HasPrefix(name, ":"): // as in HAProxy's "bind *:80"
		e.reportAt(value{node: n}, `"*" begins a YAML alias: to listen on every address write ":PORT" in quotes`)
	case strings.HasPrefix(name, "."): // as in "sni: *.example.com"
		e.reportAt(value{node: n}, `"*" begins a YAML alias: put it in quotes, as in "*.example.com"`)
	default:
		e.reportAt(value{node: n}, "no anchor %s before this alias: write one, or put text that begins with * in quotes",
			quote("&"+name))
	}
	return n, nodeSize
}

// text puts the values of variables into a string. Without quotes, what comes out has the type that it looks like, as if
// it had been written there.
func (e *expander) text(n *ast.StringNode) (ast.Node, int) {
	if !strings.Contains(n.Value, "$") {
		return n, nodeSize + len(n.Value)
	}
	text, err := substitute(n.Value, e.env)
	e.substituted += len(text)
	switch {
	case err != nil:
		e.reportAt(value{node: n}, "%v", err)
		return ast.Alias(n.Token), nodeSize
	case e.substituted > maxSubstituted:
		if e.substituted-len(text) <= maxSubstituted {
			e.reportAt(value{node: n}, "the values of variables come to more than %d MiB", maxSubstituted>>20)
		}
		return ast.Alias(n.Token), nodeSize
	}
	quoted := n.Token.Type == token.SingleQuoteType || n.Token.Type == token.DoubleQuoteType
	if node := scalar(text, n.Token); !quoted && node != nil {
		return node, nodeSize + len(text)
	}
	n.Value = text
	return n, nodeSize + len(text)
}

// scalar returns the node of a number or a truth value; nil for all other text.
func scalar(text string, at *token.Token) ast.Node {
	switch t := token.New(text, text, at.Position); t.Type {
	case token.BoolType:
		return ast.Bool(t)
	case token.IntegerType, token.BinaryIntegerType, token.OctetIntegerType, token.HexIntegerType:
		return ast.Integer(t)
	case token.FloatType:
		return ast.Float(t)
	}
	return nil
}
