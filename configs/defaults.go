package configs

import "github.com/goccy/go-yaml/ast"

// underlays are what defaults says of every listener and every pool; nil = nothing. They are read under each of them, as
// if their keys stood there, where the listener or pool does not say something itself.
type underlays struct {
	listeners, pools ast.Node
}

var defaultsFields = fields[underlays]{
	underlay("listeners", listenerFields, emptyListener,
		map[string]string{"bind": `is the listener's own: write it in each of listeners`},
		func(u *underlays) *ast.Node { return &u.listeners }),
	underlay("pools", poolFields, emptyPool,
		map[string]string{
			"backends": `are the pool's own: write them in each of pools`,
			"discover": `is the pool's own: write it in each of pools`,
		},
		func(u *underlays) *ast.Node { return &u.pools }),
}

// underlay is a field with the defaults of one kind of thing. own are the keys that have no default, and what to do instead. What is wrong is reported
// here once, and not under each of the things.
func underlay[T any](key string, table fields[T], empty func() *T, own map[string]string, at func(*underlays) *ast.Node) field[underlays] {
	may := withoutRequired(table)
	for i := range may {
		if instead := own[may[i].key]; instead != "" {
			may[i] = field[T]{key: may[i].key, instead: instead}
		}
	}
	return field[underlays]{key: key, shape: objectOf(may), read: func(d *decoder, v value, to *underlays) {
		before := len(d.problems)
		v.name = "defaults." + key
		may.decode(d, v, empty())
		if len(d.problems) == before {
			*at(to) = v.node
		}
	}}
}

func emptyListener() *listenerDraft { return &listenerDraft{Listener: defaultListener("")} }

func emptyPool() *poolDraft { return &poolDraft{Pool: defaultPool(""), check: newCheck(place{})} }

// withoutRequired returns the fields with none of them required.
func withoutRequired[T any](table fields[T]) fields[T] {
	may := append(fields[T](nil), table...)
	for i := range may {
		may[i].example = ""
	}
	return may
}

func readDefaults(d *decoder, v value, _ *File) { defaultsFields.decode(d, v, &d.under) }
