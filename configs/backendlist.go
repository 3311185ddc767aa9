package configs

import (
	"bytes"
	"fmt"
	"regexp"

	"github.com/goccy/go-yaml/ast"

	"sluice/pool/discovery"
	"sluice/pool/discovery/file"
)

// ParseBackends reads a list of backends as it stands under backends in a configuration: in YAML or JSON, alone or as the
// only key backends of a mapping. An empty list is one; an empty file is none, for a file that is written anew is empty at
// first. A backend may have a host name, which is not looked up.
//
// path stands for the file in problems. The error is Problems, in which the first is said, and how many there are more.
func ParseBackends(path string, data []byte) ([]discovery.Found, error) {
	if len(data) > file.MaxSize {
		return nil, firstOf{Problems{{File: path, Message: fmt.Sprintf("the file is larger than %d MiB: this is no list of backends",
			file.MaxSize>>20)}}}
	}
	if found, ok := jsonBackends(data); ok {
		return found, nil
	}
	d := newDecoder(newSource(path, untabbed(data)))
	found := d.backendList()
	if len(d.problems) > 0 {
		return nil, firstOf{d.result()}
	}
	return found, nil
}

// firstOf is problems that are shown on one line.
type firstOf struct{ Problems }

func (f firstOf) Error() string {
	first := f.Problems[0].String()
	if more := len(f.Problems) - 1; more == 1 {
		return first + "; 1 more problem"
	} else if more > 1 {
		return fmt.Sprintf("%s; %d more problems", first, more)
	}
	return first
}

func (f firstOf) Unwrap() error { return f.Problems }

var tabs = regexp.MustCompile(`(?m)^[ \t]*\t[ \t]*`)

// untabbed lets JSON be indented by tabs, which is no matter there.
func untabbed(data []byte) []byte {
	if !beginsJSON(data) {
		return data
	}
	return tabs.ReplaceAllFunc(data, func(indent []byte) []byte { return bytes.Repeat([]byte{' '}, len(indent)) })
}

func beginsJSON(data []byte) bool {
	data = bytes.TrimLeft(data, " \t\r\n")
	return len(data) > 0 && (data[0] == '[' || data[0] == '{')
}

var listFields = fields[[]discovery.Found]{{key: "backends", read: readList, example: "backends: [10.0.0.1:80]"}}

const listWant = "a list of backends, for example [10.0.0.1:80], or [] for none"

// backendList returns what the only file of the decoder lists.
func (d *decoder) backendList() (found []discovery.Found) {
	root := d.root(0)
	if root == nil {
		if len(d.problems) == 0 {
			d.report(d.sources[0].at(1, 1), "the file is empty: write %s", listWant)
		}
		return nil
	}
	e := expander{decoder: d, anchors: make(map[string]anchored)}
	root, _ = e.expand(root)
	whole := value{name: "the file", at: d.place(root), node: root}
	switch root.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		listFields.decode(d, whole, &found)
	default:
		readList(d, whole, &found)
	}
	return found
}

func readList(d *decoder, v value, to *[]discovery.Found) {
	*to = []discovery.Found{}
	if list, ok := v.node.(*ast.SequenceNode); ok && len(list.Values) == 0 {
		return
	}
	names := backendNames{of: "this file", first: make(map[string]place)}
	for _, item := range d.items(v, listWant) {
		config := defaultBackend()
		b := backendDraft{BackendConfig: &config}
		if names.read(d, item, &b) {
			*to = append(*to, b.found())
		}
	}
}

// found returns the backend as one that somebody has found: what is not written is left open.
func (b *backendDraft) found() discovery.Found {
	f := discovery.Found{Address: b.Address, Host: b.host}
	if b.wrote("name") {
		f.Name = b.Name
	}
	if b.wrote("weight") {
		f.Weight = &b.Weight
	}
	if b.wrote("max_conns") {
		f.MaxConns = &b.MaxConns
	}
	if b.wrote("backup") {
		f.Backup = &b.Backup
	}
	if b.wrote("state") {
		f.State = &b.State
	}
	return f
}

func (b *backendDraft) wrote(key string) bool {
	_, ok := b.given[key]
	return ok
}
