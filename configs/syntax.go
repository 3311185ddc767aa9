package configs

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// root returns the one YAML document of a file; nil: there is none, or a problem was reported.
func (d *decoder) root(number int) ast.Node {
	src := d.sources[number]
	before := len(d.problems)
	d.checkText(src)
	if len(d.problems) > before {
		return nil
	}
	tokens, err := tokenize(blank.ReplaceAllString(shield(src.text), ""))
	if err != nil {
		d.syntaxProblem(src.at(1, 1), err)
		return nil
	}
	for _, t := range tokens {
		t.Position.Offset = number
		t.Value, t.Origin = unshield(t.Value), unshield(t.Origin)
	}
	tokens = d.oneDocument(tokens)
	if len(tokens) == 0 || len(d.problems) > before || !d.checkTokens(tokens) {
		return nil
	}
	root, err := parseTokens(tokens)
	if err != nil {
		d.syntaxProblem(src.at(1, 1), err)
		return nil
	}
	return root
}

// checkText reports what the YAML library would let pass, explain badly or be slow with: bytes that are not text, tabs
// in indentation, and what its lexer reads again for every character of it.
func (d *decoder) checkText(src *source) {
	hasBlocks, blanks := textBlock.MatchString(src.text), 0
	for i, line := range src.lines {
		if column, r := firstBad(line); column > 0 {
			d.report(src.at(i+1, column), "%s: this is not a text file in UTF-8", r)
		}
		indent := len(line) - len(strings.TrimLeft(line, " \t"))
		tab := strings.IndexByte(line[:indent], '\t')
		if tab >= 0 && indent < len(line) { // a blank line has no indentation
			d.report(src.at(i+1, tab+1), "a tab indents this line: indent with spaces")
		}
		if at := strings.Index(line, angles); at >= 0 {
			d.report(src.at(i+1, at+1), "not valid YAML: %d or more < in a row", len(angles))
		}
		if blanks++; indent < len(line) {
			blanks = 0
		}
		if blanks == maxBlanks && hasBlocks {
			d.report(src.at(i+1, 1), "more than %d blank lines in a row, beside a block of text: remove some", maxBlanks-1)
		}
	}
}

const maxBlanks = 100

// angles is the beginning of more than a merge key, and textBlock the head of a block of text.
var (
	angles    = strings.Repeat("<", 16)
	textBlock = regexp.MustCompile(`(?m)[|>][-+0-9]*[ \t]*(?:#.*)?$`)
)

// blank matches what is on blank lines, where the YAML library does not allow a tab either.
var blank = regexp.MustCompile(`(?m)^[ \t]+$`)

// firstBad returns the column of the first thing in a line that is not text, and what it is; column 0: all is text.
func firstBad(line string) (column int, what string) {
	for i := 0; i < len(line); column++ {
		r, size := utf8.DecodeRuneInString(line[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return column + 1, fmt.Sprintf("invalid byte 0x%02x", line[i])
		case r < ' ' && r != '\t', r == 0x7f, r == '\ufeff', isShielded(r):
			return column + 1, fmt.Sprintf("invalid character %U", r)
		}
		i += size
	}
	return 0, ""
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

// syntaxProblem reports what the library says, at the place that it names. Its Error writes out every token of the file,
// which takes a time with the square of their number: only the message is asked for.
func (d *decoder) syntaxProblem(at place, err error) {
	var syntax yaml.Error
	if !errors.As(err, &syntax) {
		d.invalid(at, err.Error())
		return
	}
	if t := syntax.GetToken(); t != nil {
		at = d.tokenPlace(t)
	}
	d.invalid(at, syntax.GetMessage())
}

func (d *decoder) invalid(at place, message string) {
	for _, h := range yamlHints {
		if strings.Contains(message, h.message) && strings.Contains(at.source, h.source) {
			message += ": " + h.hint
			break
		}
	}
	d.report(at, "not valid YAML: %s", strings.ReplaceAll(message, "\t", "tab"))
}
