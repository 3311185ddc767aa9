package configs

import (
	"errors"
	"fmt"
	"net/textproto"
	"strings"
	"unicode"
)

// madeHeaders are the header fields that the check writes itself, and what to do about each.
var madeHeaders = map[string]string{
	"Host":              "write host: NAME in the check",
	"Connection":        "a check closes its connection after the answer: remove it",
	"Content-Length":    "the request of a check has no body: remove it",
	"Transfer-Encoding": "the request of a check has no body: remove it",
	"Trailer":           "the request of a check has no body: remove it",
}

// readHeaders reads the header fields of a request, by name.
func readHeaders(d *decoder, v value, to *check) {
	const want = "a mapping from the names of header fields to their values, for example {Accept: text/html}"
	headers := make(map[string]string)
	for _, p := range d.pairs(v, want, "header field") {
		p.value.name = "header field " + quote(p.key)
		text, ok := d.string(p.value, "the text of the field; numbers in quotes")
		if !ok {
			continue
		}
		name := textproto.CanonicalMIMEHeaderKey(p.key) // names are the same in any case: RFC 9110, section 5.1
		_, given := headers[name]
		if err := checkHeader(p.key, name, text, given); err != nil {
			d.report(p.value.at, "%s %v", p.value.name, err)
			continue
		}
		headers[name] = text
	}
	to.Probe.HTTP.Headers = headers
}

func checkHeader(key, name, text string, given bool) error {
	switch {
	case !httpToken.MatchString(key):
		return fmt.Errorf("is not a name: write letters, digits and - only")
	case madeHeaders[name] != "":
		return fmt.Errorf("has no place in headers: %s", madeHeaders[name])
	case given:
		return fmt.Errorf("is given twice: the case of letters makes no difference")
	}
	if strings.ContainsFunc(text, unicode.IsControl) { // what it is may be a secret
		return errors.New("has a value with control characters: remove them")
	}
	return nil
}
