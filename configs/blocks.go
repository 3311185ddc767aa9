package configs

import (
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The YAML library parses the keys of a block mapping by recursion, one level for each, and copies all that follow at
// every level. So large blocks are taken apart here, and it gets their parts one by one.

// smallBlock is how many tokens the library is given in one piece where they could be taken apart: its quadratic part
// is nothing then, and the calls are few.
const smallBlock = 64

// parseNode parses the tokens of one node.
func parseNode(tokens token.Tokens) (ast.Node, error) {
	if len(tokens) <= smallBlock {
		return parseWhole(tokens)
	}
	starts := blockStarts(tokens)
	switch {
	case starts == nil:
		return parseWhole(tokens)
	case tokens[0].Type == token.SequenceEntryType:
		return parseBlockSequence(tokens, starts)
	default:
		return parseBlockMapping(tokens, starts)
	}
}

// parseWhole lets the library parse. It allows duplicate keys: the decoder reports them, with the line of the first.
func parseWhole(tokens token.Tokens) (ast.Node, error) {
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil || len(file.Docs) == 0 {
		return nil, err
	}
	return file.Docs[0].Body, nil
}

// blockStarts returns the indexes of the keys of a block mapping, or of the dashes of a block sequence; nil: the tokens
// are no block. Tokens in between that fit nowhere stay where they are, for the library to complain of.
func blockStarts(tokens token.Tokens) (starts []int) {
	begins := func(i int) bool { return isKey(tokens, i) }
	if tokens[0].Type == token.SequenceEntryType {
		begins = func(i int) bool { return tokens[i].Type == token.SequenceEntryType }
	}
	if !begins(0) {
		return nil
	}
	flow := 0
	for i, t := range tokens {
		if flow == 0 && t.Position.Column == tokens[0].Position.Column && (i == 0 || beginsLine(tokens, i)) && begins(i) {
			starts = append(starts, i)
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow = max(0, flow-1)
		}
	}
	return starts
}

// isKey reports whether the token is the key of a pair.
func isKey(tokens token.Tokens, i int) bool {
	return i+1 < len(tokens) && tokens[i+1].Type == token.MappingValueType && isScalar(tokens[i])
}

func isScalar(t *token.Token) bool {
	return t.CharacterType == token.CharacterTypeMiscellaneous ||
		t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType || t.Type == token.MergeKeyType
}

// beginsLine reports whether a token is the first on its line. The text after the head of a block of text is one token,
// and where it is the lexer does not say.
func beginsLine(tokens token.Tokens, i int) bool {
	if opensText(tokens[i-1]) {
		return false
	}
	return tokens[i-1].Position.Line < tokens[i].Position.Line || i > 1 && opensText(tokens[i-2])
}

func opensText(t *token.Token) bool { return t.Type == token.LiteralType || t.Type == token.FoldedType }

func parseBlockMapping(tokens token.Tokens, starts []int) (ast.Node, error) {
	whole := ast.Mapping(tokens[1], false)
	for i, start := range starts {
		pair, err := parsePair(tokens[start:end(starts, i, len(tokens))])
		if err != nil {
			return nil, err
		}
		whole.Values = append(whole.Values, pair...)
	}
	return whole, nil
}

func parseBlockSequence(tokens token.Tokens, starts []int) (ast.Node, error) {
	whole := ast.Sequence(tokens[0], false)
	for i, start := range starts {
		item, err := parseItem(tokens[start:end(starts, i, len(tokens))])
		if err != nil {
			return nil, err
		}
		whole.Values = append(whole.Values, item...)
	}
	return whole, nil
}

func end(starts []int, i, size int) int {
	if i+1 < len(starts) {
		return starts[i+1]
	}
	return size
}

// parsePair parses a key, a colon and a value.
func parsePair(tokens token.Tokens) ([]*ast.MappingValueNode, error) {
	head, value := tokens, token.Tokens(nil)
	if len(tokens) > smallBlock && isBlockValue(tokens[0], tokens[2:]) {
		head, value = tokens[:2:2], tokens[2:]
	}
	node, err := parseWhole(head)
	if err != nil {
		return nil, err
	}
	pair := node.(*ast.MappingNode).Values
	if value != nil {
		pair[0].Value, err = parseAnchored(value)
	}
	return pair, err
}

// isBlockValue reports whether what follows a key is a block of its own: it begins on another line, further to the
// right, where a dash counts as if it stood one further. An anchor may stand beside the key.
func isBlockValue(key *token.Token, value token.Tokens) bool {
	if value[0].Type == token.AnchorType && len(value) > 2 && value[0].Position.Line == key.Position.Line {
		value = value[2:]
	}
	column := value[0].Position.Column
	if value[0].Type == token.SequenceEntryType {
		column++
	}
	return value[0].Position.Line > key.Position.Line && column > key.Position.Column
}

// parseItem parses a dash and what follows it.
func parseItem(tokens token.Tokens) ([]ast.Node, error) {
	if len(tokens) > smallBlock && tokens[1].Position.Column > tokens[0].Position.Column {
		node, err := parseAnchored(tokens[1:])
		return []ast.Node{node}, err
	}
	node, err := parseWhole(tokens)
	if err != nil {
		return nil, err
	}
	return node.(*ast.SequenceNode).Values, nil
}

// parseAnchored parses a node and the anchor before it, if there is one.
func parseAnchored(tokens token.Tokens) (ast.Node, error) {
	if tokens[0].Type != token.AnchorType || len(tokens) < 3 || tokens[2].Position.Line == tokens[0].Position.Line {
		return parseNode(tokens)
	}
	anchor := ast.Anchor(tokens[0])
	anchor.Name = ast.String(tokens[1])
	value, err := parseNode(tokens[2:])
	anchor.Value = value
	return anchor, err
}
