package configs

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// root returns the file's one YAML document, or nil after reporting why there is none.
func (d *decoder) root() ast.Node {
	if d.checkText(); len(d.problems) > 0 {
		return nil
	}
	tokens, err := tokenize(blank.ReplaceAllString(d.text, ""))
	if err == nil && !d.checkDepth(tokens) {
		return nil
	}
	var file *ast.File
	if err == nil {
		file, err = parseTokens(tokens)
	}
	if err != nil {
		d.syntaxProblem(err)
		return nil
	}
	return d.document(file)
}

// checkText reports what the YAML parser would let pass or explain badly: bytes that are not text, and tabs in
// indentation.
func (d *decoder) checkText() {
	for i, line := range d.lines {
		if column, r := firstBad(line); column > 0 {
			d.report(d.at(i+1, column), "%s: this is not a text file in UTF-8", r)
		}
		indent := len(line) - len(strings.TrimLeft(line, " \t"))
		tab := strings.IndexByte(line[:indent], '\t')
		if tab >= 0 && indent < len(line) { // a blank line has no indentation
			d.report(d.at(i+1, tab+1), "a tab indents this line: indent with spaces")
		}
	}
}

// blank matches what is on blank lines, where the YAML library does not allow a tab either.
var blank = regexp.MustCompile(`(?m)^[ \t]+$`)

// firstBad returns the column of the first thing in a line that is not text, and what it is; column 0: all is text.
func firstBad(line string) (column int, what string) {
	for i := 0; i < len(line); column++ {
		r, size := utf8.DecodeRuneInString(line[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return column + 1, fmt.Sprintf("invalid byte 0x%02x", line[i])
		case r < ' ' && r != '\t', r == 0x7f, r == '\ufeff':
			return column + 1, fmt.Sprintf("invalid character %U", r)
		}
		i += size
	}
	return 0, ""
}

// maxDepth is far beyond the depth of the schema. The parser recurses and would end the process at about a million.
const maxDepth = 32

// checkDepth reports the first thing that is nested too deep. It counts what can be nested within one line; nesting by
// indentation is bounded well enough by the size of the file.
func (d *decoder) checkDepth(tokens token.Tokens) bool {
	flow, entries, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, entries = t.Position.Line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow = max(0, flow-1)
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			entries++
		}
		if flow+entries > maxDepth {
			d.report(d.tokenPlace(t), "nested more than %d deep", maxDepth)
			return false
		}
	}
	return true
}

func tokenize(text string) (_ token.Tokens, err error) {
	defer recovered(&err)
	return joinPlain(lexer.Tokenize(text)), nil
}

// joinPlain puts text with a colon in it together again. Within a flow mapping the lexer splits 10.0.0.1:80 at the colon;
// by YAML 1.2 (7.3.3) a colon ends plain text only before a space, "," or a bracket.
func joinPlain(tokens token.Tokens) token.Tokens {
	joined := make(token.Tokens, 0, len(tokens))
	for _, t := range tokens {
		joined = append(joined, t)
		start := plainStart(joined)
		if start < 0 {
			continue
		}
		parts := joined[start:]
		var text strings.Builder
		for _, p := range parts {
			text.WriteString(p.Value)
		}
		whole := token.New(text.String(), text.String(), parts[0].Position)
		whole.Prev, whole.Next = parts[0].Prev, t.Next
		joined = append(joined[:start], whole)
	}
	return joined
}

// plainStart returns the index of the first of the last two or three tokens when they are one plain text: "a", ":", "b",
// or ":", "b" at the beginning of an element. Otherwise it returns -1.
func plainStart(tokens token.Tokens) int {
	n := len(tokens)
	if n < 3 {
		return -1
	}
	before, colon, after := tokens[n-3], tokens[n-2], tokens[n-1]
	if colon.Type != token.MappingValueType || !isPlain(after) || !adjacent(colon, after) {
		return -1
	}
	switch before.Type {
	case token.SequenceStartType, token.MappingStartType, token.CollectEntryType:
		return n - 2
	}
	if isPlain(before) && adjacent(before, colon) {
		return n - 3
	}
	return -1
}

func isPlain(t *token.Token) bool {
	return t.CharacterType == token.CharacterTypeMiscellaneous && t.Indicator == token.NotIndicator
}

// adjacent reports whether b begins where a ends.
func adjacent(a, b *token.Token) bool {
	return a.Position.Line == b.Position.Line && a.Position.Column+utf8.RuneCountInString(a.Value) == b.Position.Column
}

// parseTokens allows duplicate keys: the decoder reports them, with the line of the first.
func parseTokens(tokens token.Tokens) (_ *ast.File, err error) {
	defer recovered(&err)
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// recovered turns a panic of the YAML library into an error: a mistake in a file that is being reloaded must not end a
// process that serves.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("the parser does not understand it: %v", r)
	}
}

// yamlHints explain the YAML library's terser messages.
var yamlHints = []struct{ message, source, hint string }{
	{"undefined alias name", "", `put text that begins with * in quotes`},
	{"unexpected scalar value type", "*", `put text that begins with * in quotes`},
	{"mapping value is not allowed", ": *", `put text that begins with * in quotes`},
	{"mapping value is not allowed", "", `check the indentation, and quote text that has ": " in it`},
	{"invalid key for this map", "]:", `quote an address in brackets: "[::1]:80"`},
	{"value is not allowed", "]:", `quote an address in brackets: "[::1]:80"`},
	{"value is not allowed", "", "check the indentation, and quote text that has special characters"},
	{"reserved character", "", "quote the text"},
	{"non-map value", "", "is there a colon after each key?"},
	{"unexpected key name", "", "check the indentation, and the colon after each key"},
	{"found character '\t'", "", "use spaces"},
	{"block sequence entries", "", `begin the list on a line of its own, or write it as [a, b]`},
}

func (d *decoder) syntaxProblem(err error) {
	at, message := d.at(1, 1), err.Error()
	var syntax yaml.Error
	if errors.As(err, &syntax) {
		message = syntax.GetMessage()
		if t := syntax.GetToken(); t != nil {
			at = d.tokenPlace(t)
		}
	}
	for _, h := range yamlHints {
		if strings.Contains(message, h.message) && strings.Contains(at.source, h.source) {
			message += ": " + h.hint
			break
		}
	}
	d.report(at, "not valid YAML: %s", strings.ReplaceAll(message, "\t", "tab"))
}

// document returns the content of the only document of a file.
func (d *decoder) document(file *ast.File) ast.Node {
	var root ast.Node
	for _, doc := range file.Docs {
		switch {
		case doc == nil || doc.Body == nil:
		case doc.Body.Type() == ast.DirectiveType:
			d.report(d.place(doc.Body), "YAML directives are not supported: remove this line")
			return nil
		case root != nil:
			d.report(d.place(doc.Body), "a second YAML document: a configuration is one document, remove the line --- or ...")
			return nil
		default:
			root = doc.Body
		}
	}
	if root == nil {
		d.report(d.at(1, 1), "the file has no settings: it needs listeners and pools; `sluice init` prints a sample")
	}
	return root
}
