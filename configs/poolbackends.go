package configs

import (
	"github.com/goccy/go-yaml/ast"

	"sluice/pool"
)

// A backendDraft is a backend as it is written.
type backendDraft struct {
	keyNotes
	*pool.BackendConfig
	host string // in place of the IP of its address
}

// readBackends reads into elements that stay where they are: addresses are held against each other after all was read. A
// backend with a host name is an entry: nobody knows yet how many it stands for.
func readBackends(d *decoder, v value, to *poolDraft) {
	items := d.items(v, "an address or a mapping with the key address, for example [10.0.0.1:80]")
	written := make([]pool.BackendConfig, 0, len(items))
	names := backendNames{of: "pool " + quote(to.Config.Name), first: make(map[string]place)}
	for _, item := range items {
		at := len(written)
		written = append(written, defaultBackend())
		b := backendDraft{BackendConfig: &written[at]}
		if names.read(d, item, &b) && b.host != "" {
			_, named := b.given["name"]
			to.Entries = append(to.Entries, hostEntry(written[at], b.host, named, at, d.place(item.node).problem("", &d.shown)))
			written = written[:at]
		}
	}
	to.Config.Backends = written
}

// backendNames is where each name of a list of backends is.
type backendNames struct {
	of    string // what they are the backends of
	first map[string]place
}

// read reads one backend, and reports whether nothing is wrong with it.
func (n *backendNames) read(d *decoder, v value, b *backendDraft) bool {
	v.name = "backend"
	problems := len(d.problems)
	readBackend(d, v, b)
	if len(d.problems) > problems || b.Name == "" { // its name may not be the one it was given
		return false
	}
	at := d.place(v.node)
	if earlier, ok := n.first[b.Name]; ok {
		d.report(at, "duplicate backend %s in %s: the first is %s, give this one another name", quote(b.Name), n.of,
			where(earlier, at))
		return false
	}
	n.first[b.Name] = at
	return true
}

// readBackend reads an address, or a mapping.
func readBackend(d *decoder, v value, to *backendDraft) {
	switch v.node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		backendFields.decode(d, v, to)
	default:
		readBackendAddress(d, v, to)
	}
}

// readBackendAddress also names the backend, unless name does: either may come first.
func readBackendAddress(d *decoder, v value, to *backendDraft) {
	text, ok := d.string(v, addressRules{}.want())
	if !ok {
		return
	}
	if to.Name == "" {
		to.Name = text
	}
	to.host = d.backendAddress(d.place(v.node), text, &to.Address)
}

func readBackendName(d *decoder, v value, to *backendDraft) {
	name, ok := d.string(v, "a name")
	if !ok {
		return
	}
	if err := checkName(name); err != nil {
		d.reportAt(v, "backend %v", err)
		return
	}
	to.Name = name
}
