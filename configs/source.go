package configs

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"
)

// A source is one file as it was read.
type source struct {
	file  string
	text  string
	lines []string
}

func newSource(name string, data []byte) *source {
	s := text(data)
	return &source{file: name, text: s, lines: strings.Split(s, "\n")}
}

// at returns a place in the file; it moves a line that lies outside to the nearest one inside. The column may lie
// outside: see place.problem.
func (s *source) at(line, column int) place {
	line = min(max(line, 1), len(s.lines))
	return place{file: s.file, line: line, column: column, source: s.lines[line-1]}
}

// A place is where a problem is reported: in a file, or at a flag.
type place struct {
	file         string
	line, column int
	source       string // the whole line as it is in the file
}

// problem returns what is reported at the place. What costs as much as the line is long is done here and not for each
// place, of which a line can have as many as it has characters.
func (p place) problem(message string, shown *shownLine) Problem {
	if p.line == 0 {
		return Problem{File: p.file, Message: message}
	}
	shown.set(p.source)
	column := min(max(p.column, 1), shown.width+1)
	return Problem{File: p.file, Line: p.line, Column: column, Source: shown.masked, Message: message}
}

// A shownLine is the line of the last problem. Often the next is on the same one.
type shownLine struct {
	source, masked string
	width          int // in characters
}

func (s *shownLine) set(source string) {
	if s.source != source {
		*s = shownLine{source, maskPassword(source), utf8.RuneCountInString(source)}
	}
}

// passwordValue matches a password that somebody wrote into the file, or a header field that has one, and what follows it
// on the line.
var passwordValue = regexp.MustCompile(`(?i)(\b(?:password|authorization|cookie)["']?[ \t]*:[ \t]*)(.+)`)

// maskPassword returns a line as it may be shown: problems end up in logs. The columns stay what they are.
func maskPassword(line string) string {
	at := passwordValue.FindStringSubmatchIndex(line)
	if at == nil {
		return line
	}
	return line[:at[4]] + strings.Repeat("*", utf8.RuneCountInString(line[at[4]:]))
}

// sourceOf returns the file that a token is from: root noted its number where the lexer counts bytes, which nobody asks for.
func (d *decoder) sourceOf(t *token.Token) *source {
	return d.sources[min(max(t.Position.Offset, 0), len(d.sources)-1)]
}

func (d *decoder) tokenPlace(t *token.Token) place {
	if t == nil || t.Position == nil {
		return d.sources[0].at(1, 1)
	}
	return d.sourceOf(t).at(t.Position.Line, t.Position.Column)
}
