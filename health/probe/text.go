package probe

import (
	"context"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// reasonMost is the longest text of a probe's error, in bytes: it is a cell of `sluice status` and a field of the log.
	reasonMost = 800
	// messageMost is the longest part of it that a server has worded.
	messageMost = 300
)

// printable returns text that somebody else has written, fit for one line of a terminal: at most so many bytes and an
// ellipsis, space of any kind as one blank, bytes that are no UTF-8 as "?", and escaped whatever is not printed but
// obeyed, such as ESC, C1 controls and the marks that change the direction of writing.
func printable(text string, most int) string {
	var b strings.Builder
	blank := ""
	for _, r := range strings.ToValidUTF8(text, "?") {
		if unicode.IsSpace(r) {
			if b.Len() > 0 {
				blank = " "
			}
			continue
		}
		shown := shownAs(r)
		if b.Len()+len(blank)+len(shown) > most {
			b.WriteString("...")
			break
		}
		b.WriteString(blank)
		b.WriteString(shown)
		blank = ""
	}
	return b.String()
}

// shownAs returns a character, or its escape sequence in Go when it cannot be printed.
func shownAs(r rune) string {
	if strconv.IsPrint(r) && r != utf8.RuneError {
		return string(r)
	}
	quoted := strconv.QuoteRuneToASCII(r)
	return quoted[1 : len(quoted)-1]
}

// oneLine returns text that came from a server as a part of an error.
func oneLine(text string) string { return printable(text, messageMost) }

// harmless is a prober of whose errors the text can be shown to anybody. Text of servers gets out of this package in
// no other way.
type harmless struct{ Prober }

func (h harmless) Probe(ctx context.Context) (Answer, error) {
	ctx, certificate := watchCertificate(ctx)
	answer, err := h.Prober.Probe(ctx)
	answer.CertificateEnds = certificate.ends
	if err == nil {
		return answer, nil
	}
	full := err.Error()
	if text := printable(full, reasonMost); text != full {
		err = shownError{text, err}
	}
	return answer, err
}

// shownError is an error with a text that can be shown.
type shownError struct {
	text string
	error
}

func (e shownError) Error() string { return e.text }
func (e shownError) Unwrap() error { return e.error }
