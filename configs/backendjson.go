package configs

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"sluice/pool"
	"sluice/pool/discovery"
)

// jsonBackends reads a list of backends in plain JSON. It is YAML as well, but ten thousand backends, of which one changes
// every now and then, are read here twenty times faster. When anything is not as it mostly is, it is not ok: then the
// YAML reader has the words for what is wrong, if something is.
func jsonBackends(data []byte) (found []discovery.Found, ok bool) {
	if !beginsJSON(data) || bytes.IndexByte(data, '$') >= 0 { // a variable
		return nil, false
	}
	r := jsonReader{text: string(data), found: []discovery.Found{}, names: make(map[string]bool)}
	ok = r.file() && r.space() == len(r.text)
	return r.found, ok
}

// A jsonReader is somewhere in a text. Its methods go on from there, past blanks, and report whether what they are named
// after was there; if not, nothing else is asked.
type jsonReader struct {
	text  string
	at    int
	found []discovery.Found
	names map[string]bool
}

// space goes past blanks and returns where it is then.
func (r *jsonReader) space() int {
	for r.at < len(r.text) && strings.IndexByte(" \t\r\n", r.text[r.at]) >= 0 {
		r.at++
	}
	return r.at
}

func (r *jsonReader) sign(c byte) bool {
	if at := r.space(); at == len(r.text) || r.text[at] != c {
		return false
	}
	r.at++
	return true
}

// quoted is text in quotes without anything that stands for something else.
func (r *jsonReader) quoted() (string, bool) {
	if !r.sign('"') {
		return "", false
	}
	for i := r.at; i < len(r.text); i++ {
		switch c := r.text[i]; {
		case c == '"':
			text := r.text[r.at:i]
			r.at = i + 1
			return text, true
		case c == '\\' || c < ' ' || c > '~':
			return "", false
		}
	}
	return "", false
}

// bare is a number or a word.
func (r *jsonReader) bare() string {
	begin := r.space()
	for r.at < len(r.text) && (r.text[r.at] >= '0' && r.text[r.at] <= '9' || r.text[r.at] >= 'a' && r.text[r.at] <= 'z') {
		r.at++
	}
	return r.text[begin:r.at]
}

// file is a list, or a mapping with one.
func (r *jsonReader) file() bool {
	if !r.sign('{') {
		return r.list('[', ']', r.backend)
	}
	key, ok := r.quoted()
	return ok && key == "backends" && r.sign(':') && r.list('[', ']', r.backend) && r.sign('}')
}

// list is items with commas in between.
func (r *jsonReader) list(begin, end byte, item func() bool) bool {
	if !r.sign(begin) {
		return false
	}
	for first := true; !r.sign(end); first = false {
		if !first && !r.sign(',') || !item() {
			return false
		}
	}
	return true
}

// backend is an address, or a mapping.
func (r *jsonReader) backend() bool {
	var f discovery.Found
	address, ok := r.quoted()
	if !ok {
		keys := make([]string, 0, len(backendFields))
		ok = r.list('{', '}', func() bool {
			key, ok := r.quoted()
			known := slices.Contains(keys, key)
			keys = append(keys, key)
			return ok && !known && r.sign(':') && r.setting(&f, key, &address)
		})
	}
	name := f.Name
	if name == "" {
		name = address
	}
	if !ok || r.names[name] {
		return false
	}
	r.names[name] = true
	var err error
	f.Address, f.Host, err = parseAddress(address, addressRules{})
	r.found = append(r.found, f)
	return err == nil
}

// setting is the value of a key, which it sets.
func (r *jsonReader) setting(f *discovery.Found, key string, address *string) (ok bool) {
	switch key {
	case "address":
		*address, ok = r.quoted()
		return ok
	case "name":
		f.Name, ok = r.quoted()
		f.Name = strings.Clone(f.Name) // it would hold the whole text
		return ok && checkName(f.Name) == nil
	case "state":
		text, ok := r.quoted()
		f.State = new(pool.AdminState)
		return ok && f.State.UnmarshalText([]byte(text)) == nil
	case "backup":
		word := r.bare()
		backup := word == "true"
		f.Backup = &backup
		return backup || word == "false"
	case "weight":
		f.Weight, ok = r.number(pool.MaxWeight)
	case "max_conns":
		f.MaxConns, ok = r.number(noLimit)
	}
	return ok
}

func (r *jsonReader) number(most int) (*int, bool) {
	text := r.bare()
	n, err := strconv.Atoi(text)
	return &n, err == nil && n <= most && strconv.Itoa(n) == text
}
