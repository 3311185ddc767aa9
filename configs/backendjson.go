package configs

import (
	"bytes"
	"net/netip"
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
	about := bytes.Count(data, []byte("{")) // of mappings; a list of addresses grows as it goes
	r := jsonReader{text: string(data), found: make([]discovery.Found, 0, about), names: make(map[string]bool, about)}
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
	r.found = append(r.found, discovery.Found{})
	f := &r.found[len(r.found)-1]
	address, ok := r.quoted()
	if !ok && !r.mapping(f, &address) {
		return false
	}
	name := f.Name
	if name == "" {
		name = address
	}
	known := len(r.names)
	if r.names[name] = true; len(r.names) == known {
		return false
	}
	var err error
	f.Address, f.Host, err = parseNumeric(address)
	return err == nil
}

// mapping is the keys of a backend and their values.
func (r *jsonReader) mapping(f *discovery.Found, address *string) bool {
	if !r.sign('{') {
		return false
	}
	var keys [maxJSONKeys]string
	for n := 0; !r.sign('}'); n++ {
		if n == maxJSONKeys || n > 0 && !r.sign(',') {
			return false
		}
		key, ok := r.quoted()
		if !ok || slices.Contains(keys[:n], key) || !r.sign(':') || !r.setting(f, key, address) {
			return false
		}
		keys[n] = key
	}
	return true
}

// maxJSONKeys is how many keys a backend may have.
const maxJSONKeys = 6

// parseNumeric is parseAddress that is quick where there is an IPv4 address with a port, as nearly always.
func parseNumeric(text string) (pool.Address, string, error) {
	at, err := netip.ParseAddrPort(text)
	if colon := strings.IndexByte(text, ':'); err != nil || !at.Addr().Is4() || at.Addr().IsUnspecified() || text[colon+1] == '0' {
		return parseAddress(text, addressRules{})
	}
	return pool.Address{TCP: at}, "", nil
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
		f.Backup = &backups[0]
		if word == "true" {
			f.Backup = &backups[1]
		}
		return word == "true" || word == "false"
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
	if err != nil || n > most || len(text) > 1 && text[0] == '0' {
		return nil, false
	}
	if n < len(numbers) {
		return &numbers[n], true
	}
	return &n, true
}

// What ten thousand backends can share, as what is found does not change.
var (
	backups = [2]bool{false, true}
	numbers = func() (n [pool.MaxWeight + 1]int) {
		for i := range n {
			n[i] = i
		}
		return n
	}()
)
