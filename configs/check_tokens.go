package configs

import (
	"github.com/goccy/go-yaml/token"
)

// oneDocument returns the tokens of the only document of a file, without comments and the marks around the document.
func (d *decoder) oneDocument(tokens token.Tokens) token.Tokens {
	var body token.Tokens
	ended := false
	for _, t := range tokens {
		switch t.Type {
		case token.CommentType:
		case token.DirectiveType:
			d.report(d.tokenPlace(t), "YAML directives are not supported: remove this line")
			return nil
		case token.DocumentHeaderType, token.DocumentEndType:
			ended = len(body) > 0
		default:
			if ended {
				d.report(d.tokenPlace(t), "a second YAML document: a configuration is one document, remove the line --- or ...")
				return nil
			}
			body = append(body, t)
		}
	}
	return body
}

// Bounds of what the YAML library is given.
const (
	// maxDepth is far beyond the depth of the schema. The parser recurses and would end the process at about a million.
	maxDepth = 32
	// maxKey is as much above the longest name. The parser writes the keys above into every node.
	maxKey = 256
	// maxTokens is twice what ten thousand pools have. The parser makes some hundred bytes of each.
	maxTokens = 400_000
	// maxNulls is how many keys may lack a value, which is never right. The parser moves all that follows for each.
	maxNulls = maxProblems
)

// checkTokens reports what the parser cannot be given: what it is slow or recursive with, and what is never right in a
// configuration. It counts what can be nested within one line; nesting by indentation is bounded well
// enough by the size of the file.
func (d *decoder) checkTokens(tokens token.Tokens) bool {
	if len(tokens) > maxTokens {
		d.report(d.tokenPlace(tokens[maxTokens]), "more than %d words and signs: this is not a configuration of sluice", maxTokens)
		return false
	}
	var flow []token.Type // what is open
	entries, line, nulls, ok := 0, 0, 0, true
	for i, t := range tokens {
		if t.Position.Line != line {
			line, entries = t.Position.Line, 0
		}
		switch t.Type {
		case token.InvalidType:
			d.invalid(d.tokenPlace(t), t.Error)
			return false
		case token.SequenceStartType, token.MappingStartType:
			flow = append(flow, t.Type)
		case token.SequenceEndType, token.MappingEndType:
			flow = flow[:max(0, len(flow)-1)]
		case token.SequenceEntryType, token.AnchorType:
			entries++
		}
		if lacksValue(tokens, i, flow) {
			nulls++
		}
		if len(flow)+entries > maxDepth {
			d.report(d.tokenPlace(t), "nested more than %d deep", maxDepth)
			return false
		}
		if why := refused(tokens, i, len(flow) > 0); why != "" {
			d.report(d.tokenPlace(t), "%s", why)
			ok = false
		}
		if nulls > maxNulls {
			d.report(d.tokenPlace(t), "more than %d keys have no value: this is not a configuration of sluice", maxNulls)
			return false
		}
	}
	return ok
}

const notPlain = "this key is not plain text: write it as KEY: VALUE"

// refused returns what is wrong with a token and those around it; "" = nothing.
func refused(tokens token.Tokens, i int, inFlow bool) string {
	t := tokens[i]
	switch {
	case t.Type == token.TagType:
		return "YAML tags are not supported: remove the word after !"
	case t.Type == token.MappingKeyType:
		return notPlain
	case t.Type == token.AnchorType && isKey(tokens, i+2) && tokens[i+2].Position.Line == t.Position.Line:
		return notPlain
	case !isKey(tokens, i):
		return ""
	case len(t.Value) > maxKey:
		return "this key is too long: names have at most 64 characters"
	case i > 0 && tokens[i-1].Type == token.AliasType && adjacent(tokens[i-1], t):
		return notPlain
	case inFlow && i > 0 && !beginsElement(tokens[i-1]):
		return "not valid YAML: a comma is missing before this key"
	}
	return ""
}

func beginsElement(before *token.Token) bool {
	switch before.Type {
	case token.MappingStartType, token.SequenceStartType, token.CollectEntryType:
		return true
	}
	return false
}

// lacksValue reports whether the parser would put a null after the token; flow is what is open there.
func lacksValue(tokens token.Tokens, i int, flow []token.Type) bool {
	if i == 0 || i+1 == len(tokens) {
		return false // or nothing has to move
	}
	t, next := tokens[i], tokens[i+1]
	ends := next.Type == token.CollectEntryType || next.Type == token.MappingEndType || next.Type == token.SequenceEndType
	switch {
	case len(flow) > 0 && t.Type == token.MappingValueType:
		return ends
	case len(flow) > 0:
		return ends && isScalar(t) && beginsElement(tokens[i-1]) && flow[len(flow)-1] == token.MappingStartType
	case t.Type == token.MappingValueType:
		column := tokens[i-1].Position.Column
		return next.Position.Line > t.Position.Line && (next.Position.Column < column ||
			next.Position.Column == column && next.Type != token.SequenceEntryType)
	case t.Type == token.SequenceEntryType:
		return next.Position.Line > t.Position.Line && next.Position.Column <= t.Position.Column
	}
	return false
}
