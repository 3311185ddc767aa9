package configs

import (
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"regexp"
	"strconv"

	"github.com/goccy/go-yaml/ast"

	"sluice/l4"
	"sluice/pool"
)

// socketFileFields are the keys that say who may connect to a Unix socket.
func socketFileFields[T any](at func(*T) *l4.SocketFile) fields[T] {
	return fields[T]{
		{key: "mode", read: func(d *decoder, v value, to *T) { readMode(d, v, &at(to).Mode) }, shape: textOrNumber},
		{key: "user", read: func(d *decoder, v value, to *T) { readOwner(d, v, userID, &at(to).User) }, shape: textOrNumber},
		{key: "group", read: func(d *decoder, v value, to *T) { readOwner(d, v, groupID, &at(to).Group) }, shape: textOrNumber},
	}
}

var textOrNumber = shape{"type": []string{"string", "integer"}}

// octalMode is a mode as chmod(1) takes it, with or without what marks it as octal.
var octalMode = regexp.MustCompile(`^(0|0o)?([0-7]{3})$`)

func readMode(d *decoder, v value, to *fs.FileMode) {
	const want = "permissions as chmod takes them, for example 0660"
	if !d.present(v, want) {
		return
	}
	m := octalMode.FindStringSubmatch(scalarText(v.node))
	if m == nil {
		d.wrongType(v, want)
		return
	}
	bits, _ := strconv.ParseUint(m[2], 8, 32) // the pattern has three octal digits
	if bits == 0 {
		d.reportAt(v, "mode %s lets nobody connect: write %s", scalarText(v.node), want)
	}
	*to = fs.FileMode(bits)
}

// readOwner reads a name or a number.
func readOwner(d *decoder, v value, find func(name string) (int, error), to **int) {
	want := "the name or the number of a " + v.name
	if !d.present(v, want) {
		return
	}
	text := scalarText(v.node)
	if text == "" {
		d.wrongType(v, want)
		return
	}
	id, err := strconv.Atoi(text)
	if err != nil {
		id, err = find(text)
	}
	if err == nil && id < 0 {
		err = errors.New("must not be negative")
	}
	if err != nil {
		d.reportAt(v, "%s %s: %v", v.name, quote(text), err)
		return
	}
	*to = &id
}

func userID(name string) (int, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, notThere(err, "user")
	}
	return strconv.Atoi(u.Uid)
}

func groupID(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, notThere(err, "group")
	}
	return strconv.Atoi(g.Gid)
}

func notThere(err error, what string) error {
	if errors.As(err, new(user.UnknownUserError)) || errors.As(err, new(user.UnknownGroupError)) {
		return fmt.Errorf("there is no such %s on this machine", what)
	}
	return err
}

// readListenerSocket notes where the key is, for a listener without a socket that it could be for.
func readListenerSocket(d *decoder, v value, to *listenerDraft) {
	if !v.inherited {
		to.socketAt = &v.at
	}
	listenerSocketFields.decode(d, v, &to.Socket)
}

func (l *listenerDraft) finishSocket(d *decoder) {
	if l.socketAt == nil {
		return
	}
	for _, a := range l.Bind {
		if hasFile(a) {
			return
		}
	}
	d.report(*l.socketAt, "socket says who may connect to a Unix socket, and bind has none with a file: "+
		"write unix:/PATH there, or remove socket")
}

func hasFile(a pool.Address) bool { return a.IsUnix() && a.Unix[0] != '@' }

// readAdminSocket reads a path, or a mapping.
func readAdminSocket(d *decoder, v value, to *Admin) {
	switch v.node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		adminSocketFields.decode(d, v, to)
	default:
		readAdminSocketPath(d, v, to)
	}
}

func readAdminSocketPath(d *decoder, v value, to *Admin) {
	text, ok := d.string(v, `the path of a socket, for example `+DefaultSocket+`; or "" for none`)
	to.Socket = text
	if !ok || text == "" {
		return
	}
	if err := checkSocketPath(text); err != nil {
		d.reportAt(v, "%v", err)
		return
	}
	d.binds = append(d.binds, bindSite{at: d.place(v.node), owner: "admin.socket", address: &pool.Address{Unix: text}})
}
