package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	File    string `json:"file"`             // the file, or the flag, such as "--listen"
	Line    int    `json:"line,omitempty"`   // 1 is the first; 0: the file as a whole
	Column  int    `json:"column,omitempty"` // in characters, 1 is the first
	Message string `json:"message"`          // what is wrong and what to write instead
	Source  string `json:"-"`                // the offending line, a password in it masked; empty when there is none
}

// String returns "FILE:LINE:COLUMN: message", or "FILE: message" when Line is 0.
func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// Problems is everything that is wrong with a configuration, in the order of the file. It is the only kind of error that
// Load, Parse and Simple return, and then it is never empty.
type Problems []Problem

// Error returns each problem on a line of its own, followed by the offending line and a caret below the column.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.String())
		if strings.TrimSpace(p.Source) != "" {
			line, caret := excerpt(p.Source, p.Column)
			b.WriteString("\n  " + line + "\n  " + caret)
		}
	}
	return b.String()
}

// sort puts problems in the order of their files and places.
func (ps Problems) sort(files []string) {
	number := make(map[string]int, len(files))
	for i, file := range files {
		number[file] = i
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(number[a.File], number[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// excerptWidth is how many characters of a line are shown: a whole line of any sane file, a part of a hostile one.
const excerptWidth = 160

// excerpt returns the part of a line around a column that is safe to print, and the line with the caret to put below it.
func excerpt(source string, column int) (line, caret string) {
	at := min(max(column-1, 0), utf8.RuneCountInString(source))
	from := 0
	if at > excerptWidth*3/4 {
		from = at - excerptWidth/2
	}
	runes, more := window(source, from, excerptWidth)
	pad := make([]rune, 0, at-from)
	for i, r := range runes {
		if r != '\t' && !unicode.IsPrint(r) { // an escape sequence must not reach the terminal
			r = unicode.ReplacementChar
		}
		runes[i] = r
		if from+i < at {
			pad = append(pad, ' ')
			if r == '\t' { // as wide as the tab above it
				pad[i] = '\t'
			}
		}
	}
	line = string(runes)
	if from > 0 {
		line, pad = "..."+line, append([]rune("   "), pad...)
	}
	if more {
		line += "..."
	}
	return line, string(pad) + "^"
}

// window returns so many characters of a line from one on, and whether there are more.
func window(source string, from, width int) (runes []rune, more bool) {
	number := 0
	for _, r := range source {
		if number >= from+width {
			return runes, true
		}
		if number >= from {
			runes = append(runes, r)
		}
		number++
	}
	return runes, false
}

// quote quotes text of the file for a message, and shortens it.
func quote(text string) string {
	const most = 64
	if whole := text; len(whole) > (most+1)*utf8.UTFMax { // nobody reads more of it
		text = strings.ToValidUTF8(whole[:(most+1)*utf8.UTFMax], "")
	}
	text = maskPassword(text)
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "..."
	}
	return fmt.Sprintf("%q", text)
}

// unquoted is quote without the quotes, for text that is to be written in another way: what it has of line breaks and escape
// sequences is spelt out.
func unquoted(text string) string {
	quoted := quote(text)
	return quoted[1 : len(quoted)-1]
}
