package configs

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/token"

	"sluice/health/probe"
)

// textField is a field with text in which nothing cannot be seen; checks say what else is wrong with it.
func textField[T any](key, want string, at func(*T) *string, checks ...func(string) error) field[T] {
	return field[T]{key: key, shape: textShape, read: func(d *decoder, v value, to *T) {
		text, ok := d.string(v, want)
		if !ok {
			return
		}
		for _, check := range append([]func(string) error{checkPrintable}, checks...) {
			if err := check(text); err != nil {
				d.reportAt(v, "%s %v", key, err)
				return
			}
		}
		*at(to) = text
	}}
}

func checkPrintable(text string) error {
	if strings.ContainsFunc(text, unicode.IsControl) {
		return fmt.Errorf("%s has control characters: remove them", quote(text))
	}
	return nil
}

func checkNotEmpty(text string) error {
	if text == "" {
		return errors.New("is empty: write a name")
	}
	return nil
}

// checkServerName takes what a certificate can be for: a host name or an IP. "" is none.
func checkServerName(text string) error {
	if _, err := netip.ParseAddr(text); err == nil || text == "" {
		return nil
	}
	return checkHostName(text)
}

// checkHostHeader takes what a Host header can be: a host with or without a port. "" is the address that is asked.
func checkHostHeader(text string) error {
	if strings.ContainsAny(text, " /?#@") {
		return fmt.Errorf("%s is not a host: write the name alone, without scheme and path", quote(text))
	}
	return nil
}

// readBody reads text of any kind.
func readBody(d *decoder, v value, to *check) {
	if text, ok := d.string(v, "text that the answer contains"); ok {
		to.Probe.HTTP.Body = text
	}
}

// readStatus reads the HTTP status codes that are good: codes and ranges.
func readStatus(d *decoder, v value, to *check) {
	const want = "a status code or a range of them, for example 200 or 200-299"
	for _, item := range d.items(v, want) {
		if !d.present(item, want) {
			continue
		}
		first, last, isRange := strings.Cut(strings.ReplaceAll(scalarText(item.node), " ", ""), "-")
		if !isRange {
			last = first
		}
		r := probe.StatusRange{First: statusCode(first), Last: statusCode(last)}
		if r.First == 0 || r.Last == 0 || r.First > r.Last {
			d.wrongType(item, want)
			continue
		}
		to.Probe.HTTP.Status = append(to.Probe.HTTP.Status, r)
	}
}

// statusCode returns 0 for what is no status code.
func statusCode(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 100 || n > 599 || len(text) != 3 {
		return 0
	}
	return n
}

// readHTTPPath reads the target of a request.
func readHTTPPath(d *decoder, v value, to *check) {
	text, ok := d.string(v, "the path to ask for, for example /healthz")
	_, err := url.ParseRequestURI(text)
	switch {
	case !ok:
	case text == "*": // with OPTIONS, see finishHTTP
		to.Probe.HTTP.Path = text
	case !strings.HasPrefix(text, "/") || strings.ContainsAny(text, " #"):
		d.reportAt(v, "path %s is not a path: begin it with / and write blanks as %%20", quote(text))
	case err != nil:
		d.reportAt(v, "path %s is not a path: write two digits after each %%, as in %%20, and no control characters",
			quote(text))
	default:
		to.Probe.HTTP.Path = text
	}
}

var httpToken = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// readMethod reads a request method, see RFC 9110, 9.1.
func readMethod(d *decoder, v value, to *check) {
	text, ok := d.string(v, "a request method, for example GET")
	switch {
	case !ok:
	case !httpToken.MatchString(text) || text == "CONNECT":
		d.reportAt(v, "method %s is none for a check: write GET, HEAD or OPTIONS", quote(text))
	default:
		to.Probe.HTTP.Method = text
	}
}

// A stepDraft is a step of a check of type expect, with the keys that are there.
type stepDraft struct {
	probe.Step
	sends, wants []string
}

var stepFields = fields[stepDraft]{
	{key: "send", read: stepBytes("send", plainBytes, func(s *stepDraft) (*[]byte, *[]string) { return &s.Send, &s.sends })},
	{key: "send_hex", read: stepBytes("send_hex", hexBytes, func(s *stepDraft) (*[]byte, *[]string) { return &s.Send, &s.sends })},
	{key: "expect", read: stepBytes("expect", plainBytes, func(s *stepDraft) (*[]byte, *[]string) { return &s.Want, &s.wants })},
	{key: "expect_hex", read: stepBytes("expect_hex", hexBytes, func(s *stepDraft) (*[]byte, *[]string) { return &s.Want, &s.wants })},
	{key: "expect_regex", read: readPattern},
}

func plainBytes(text string) ([]byte, error) { return []byte(text), nil }

// hexBytes takes digits in pairs, with blanks where they help reading.
func hexBytes(text string) ([]byte, error) {
	return hex.DecodeString(strings.ReplaceAll(text, " ", ""))
}

// lostEscape matches what YAML replaces in double quotes, and nowhere else.
var lostEscape = regexp.MustCompile(`\\(?:[0abtnvfre]|x[0-9a-fA-F]{2})`)

// stepBytes returns a reader of bytes that are sent or expected.
func stepBytes(key string, parse func(string) ([]byte, error), at func(*stepDraft) (*[]byte, *[]string)) func(*decoder, value, *stepDraft) {
	return func(d *decoder, v value, to *stepDraft) {
		data, keys := at(to)
		*keys = append(*keys, key)
		text, ok := d.string(v, "text in quotes")
		if !ok {
			return
		}
		parsed, err := parse(text)
		escape := lostEscape.FindString(text)
		switch {
		case escape != "" && v.node.GetToken().Type != token.DoubleQuoteType:
			d.reportAt(v, `%s has %s outside of double quotes, where it is only a backslash and text: `+
				`put it in double quotes, with \\ for a backslash`, key, escape)
		case err != nil:
			d.reportAt(v, "%s %s is not hexadecimal: write two digits for each byte, for example \"0d 0a\"", key, quote(text))
		case len(parsed) == 0:
			d.reportAt(v, "%s is empty: leave it out", key)
		default:
			*data = parsed
		}
	}
}

func readPattern(d *decoder, v value, to *stepDraft) {
	to.wants = append(to.wants, "expect_regex")
	text, ok := d.string(v, "a regular expression in quotes")
	if !ok {
		return
	}
	pattern, err := regexp.Compile(text)
	if err != nil {
		var why *syntax.Error
		if errors.As(err, &why) { // err itself has a part of the text, whatever is in it
			err = errors.New(why.Code.String())
		}
		d.reportAt(v, "expect_regex %s is no regular expression (RE2): %v", quote(text), err)
		return
	}
	to.Pattern = pattern
}

// readSteps reads the dialog of a check of type expect.
func readSteps(d *decoder, v value, to *check) {
	for _, item := range d.items(v, `steps, for example [{send: "PING\r\n", expect: "+PONG"}]`) {
		item.name = "step"
		var s stepDraft
		before := len(d.problems)
		stepFields.decode(d, item, &s)
		switch {
		case len(d.problems) > before:
		case len(s.sends)+len(s.wants) == 0:
			d.report(item.at, "a step neither sends nor expects anything: add send or expect")
		case len(s.sends) > 1 || len(s.wants) > 1:
			keys := s.sends
			if len(keys) < 2 {
				keys = s.wants
			}
			d.report(item.at, "a step has %s: keep one of them", strings.Join(keys, " and "))
		default:
			to.Probe.Steps = append(to.Probe.Steps, s.Step)
		}
	}
}
