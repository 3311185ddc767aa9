package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/takeover"
	"sluice/configs"
	"sluice/l4"
	"sluice/pool/discovery"
)

// bindAdvice is what to do when an address cannot be had. It depends on how sluice was started.
type bindAdvice struct {
	listener, admin, socket string
	socketOptional          bool // nobody chose the default control socket: serve without when it is not permitted

	passed passedSockets // need not be bound
	from   *takeOver     // nor need its

	source func(configs.SourceConfig) discovery.Source // makes the sources; nil: newSource

	labels *labelConfig // a part of the configuration; nil = none
}

func advise(err error, advice string) error {
	if advice == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, advice)
}

// adminListeners are where the admin API is asked; nil: off.
type adminListeners struct{ listen, metrics, socket net.Listener }

// all returns those that there are.
func (a adminListeners) all() []net.Listener {
	return slices.DeleteFunc([]net.Listener{a.listen, a.metrics, a.socket}, func(l net.Listener) bool { return l == nil })
}

// adminSockets are the listeners of the admin API that a configuration asks for. Those that it has in common with the
// one before stay as they are.
type adminSockets struct {
	adminListeners
	opened []net.Listener
	gone   []net.Listener
}

// close gives up what was opened.
func (a *adminSockets) close() {
	for _, l := range a.opened {
		_ = l.Close()
	}
}

// openAdmin opens what the admin API is to be asked at. On an error nothing stays open that was not.
func (w *world) openAdmin(was *generation, c *configs.Admin) (_ *adminSockets, err error) {
	a := &adminSockets{adminListeners: was.admin}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	old := &was.force.Admin
	if err := a.move(w, takeover.Listen, &a.listen, old.Listen, c.Listen); err != nil {
		return nil, advise(fmt.Errorf("open admin API: %w", err), w.advice.admin)
	}
	if err := a.move(w, takeover.Metrics, &a.metrics, old.Metrics, c.Metrics); err != nil {
		return nil, fmt.Errorf("open admin.metrics: %w", err)
	}
	if c.Socket != old.Socket {
		if a.socket, err = w.openSocket(c); err != nil {
			return nil, err
		}
		if a.socket != nil {
			a.opened = append(a.opened, a.socket)
		}
		a.retire(was.admin.socket)
	}
	return a, nil
}

// move opens a listener at another address, if it is another one.
func (a *adminSockets) move(w *world, of string, l *net.Listener, from, to string) (err error) {
	if from == to {
		return nil
	}
	a.retire(*l)
	if *l = nil; to == "" {
		return nil
	}
	opened, err := w.adoptAdmin(of, to, "")
	if opened == nil && err == nil {
		opened, err = net.Listen("tcp", to)
	}
	if err != nil {
		return err
	}
	*l = opened
	a.opened = append(a.opened, opened)
	return nil
}

// adoptAdmin returns a listener that the process before has had there; nil: there was none.
func (w *world) adoptAdmin(of, address, path string) (net.Listener, error) {
	if w.from == nil {
		return nil, nil
	}
	return w.from.adminSocket(of, address, path)
}

func (a *adminSockets) retire(l net.Listener) {
	if l != nil {
		a.gone = append(a.gone, l)
	}
}

// openSocket opens the control socket. It returns nil when there is to be none, or when nobody has asked for the one that
// there cannot be.
func (w *world) openSocket(c *configs.Admin) (net.Listener, error) {
	if c.Socket == "" {
		return nil, nil
	}
	socket, err := w.adoptAdmin(takeover.Socket, c.Socket, c.Socket)
	if socket != nil || err != nil {
		return socket, err
	}
	socket, err = openControlSocket(c.Socket, c.SocketFile)
	if err != nil && c.Socket == configs.DefaultSocket && w.advice.socketOptional && denied(err) {
		w.log.Warn("the control socket is off: choose a path with admin.socket or --socket", "error", err)
		return nil, nil
	}
	if err != nil {
		return nil, advise(fmt.Errorf("open control socket: %w", err), w.advice.socket)
	}
	return socket, nil
}

// denied reports whether an error means that this user may not write there,
// or that there is no such place: a container without /run.
func denied(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EROFS)
}

// openControlSocket opens the socket at path. The default one's directory may be made too: no package has installed
// sluice then, and nobody chose that path.
func openControlSocket(path string, file l4.SocketFile) (net.Listener, error) {
	if path == configs.DefaultSocket {
		if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil && !os.IsExist(err) {
			return nil, err
		}
	}
	return admin.ListenSocket(path, file)
}
