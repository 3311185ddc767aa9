package l4

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"sluice/l4/clients"
	"sluice/pool"
)

// An Update is what a Server is to listen on from now on, and what to do with new sessions.
type Update struct {
	Listeners   []ListenerConfig
	MaxSessions int // as Config.MaxSessions
}

// A listenerSet is all the listeners of a server. It does not change: another one is put in
// its place.
type listenerSet struct {
	active  []*listener // in configured order
	leaving []*listener // that are configured no more, and have or had sessions
}

func (set *listenerSet) all() []*listener { return slices.Concat(set.active, set.leaving) }

// listeners returns those that are configured.
func (srv *Server) listeners() []*listener { return srv.set.Load().active }

// doors returns every socket on which the server listens.
func (srv *Server) doors() (all []door) {
	for _, ls := range srv.listeners() {
		for _, k := range *ls.sockets.Load() {
			all = append(all, door{k, ls})
		}
	}
	return all
}

// Prepared is an Update that waits to be put in force or given up, which one of the two
// must be. It holds the addresses that are new.
type Prepared struct {
	srv         *Server
	maxSessions int
	next        []nextListener
	opened      []*listenSocket
	over        bool // it is in force, or given up
}

// A nextListener is a listener as it will be.
type nextListener struct {
	listener *listener // the one that has the name, if there is one
	rules    *rules
	sockets  []*listenSocket
	owners   map[*listenSocket]SocketFile // those that change
}

// Prepare does all of an update that can fail: new addresses are bound, and rules are made.
// On an error nothing has changed. So it is until Commit, but for those who connect to an
// address that is new: they wait there. Another Prepare waits until then, too.
//
// A listener is known by its name, and a socket by its address: one that another listener
// takes over stays as it is.
func (srv *Server) Prepare(c Update) (*Prepared, error) {
	srv.changing.Lock()
	p, err := srv.prepare(c)
	if err != nil {
		srv.changing.Unlock()
		return nil, err
	}
	return p, nil
}

func (srv *Server) prepare(c Update) (_ *Prepared, err error) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.stopped {
		return nil, errStopped
	}
	if err := c.check(srv.config.Loops); err != nil {
		return nil, err
	}
	p := &Prepared{srv: srv, maxSessions: c.MaxSessions, next: srv.nextListeners(c.Listeners)}
	defer func() {
		if err != nil {
			p.closeOpened()
		}
	}()
	own := newOwnPorts()
	for i, lc := range c.Listeners {
		if limit := cmp.Or(lc.MaxSessions, c.MaxSessions); lc.PerClient.Table == 0 {
			lc.PerClient.Table = clients.TableFor(limit)
		}
		if p.next[i].rules, err = p.next[i].listener.newRules(lc, own); err != nil {
			return nil, fmt.Errorf("listener %q: %w", lc.Name, err)
		}
	}
	return p, p.findSockets()
}

// nextListeners returns the listeners of some names: those that there are, and new ones.
func (srv *Server) nextListeners(configs []ListenerConfig) []nextListener {
	known := make(map[string]*listener)
	set := srv.set.Load()
	for _, ls := range set.leaving {
		if n, _ := ls.sessionCount(); n > 0 {
			known[ls.name] = ls
		}
	}
	for _, ls := range set.active {
		known[ls.name] = ls
	}
	next := make([]nextListener, len(configs))
	for i, c := range configs {
		if next[i].listener = known[c.Name]; next[i].listener == nil {
			next[i].listener = newListener(c.Name)
		}
	}
	return next
}

// findSockets finds for every address the socket that there is, and binds it where there is
// none. A listener keeps what it has before others take it over.
func (p *Prepared) findSockets() error {
	held := p.srv.doors()
	take := func(address pool.Address, from *listener) *listenSocket {
		for i, d := range held {
			if d.listenSocket != nil && d.address == address && (from == nil || d.listener == from) && d.isThere() {
				held[i].listenSocket = nil
				return d.listenSocket
			}
		}
		return nil
	}
	for i := range p.next {
		n := &p.next[i]
		for _, address := range n.rules.config.Bind {
			n.sockets = append(n.sockets, take(address, n.listener))
		}
	}
	for i := range p.next {
		n := &p.next[i]
		for j, address := range n.rules.config.Bind {
			if n.sockets[j] == nil {
				n.sockets[j] = take(address, nil)
			}
		}
	}
	for i := range p.next {
		if err := p.bind(&p.next[i]); err != nil {
			return err
		}
	}
	return nil
}

// A BindError is why a listener cannot have one of its addresses.
type BindError struct {
	Listener string
	Address  pool.Address
	Err      error
}

// Error says which listener, which address and why.
func (e *BindError) Error() string {
	return fmt.Sprintf("listener %q: bind %s: %v", e.Listener, e.Address, e.Err)
}

// Unwrap returns why.
func (e *BindError) Unwrap() error { return e.Err }

// bind opens the sockets that a listener has not got.
func (p *Prepared) bind(n *nextListener) error {
	config := &n.rules.config
	for i, address := range config.Bind {
		if k := n.sockets[i]; k != nil {
			n.changeOwners(k, config)
			continue
		}
		k, err := p.open(address, config)
		if err != nil {
			return &BindError{Listener: config.Name, Address: address, Err: err}
		}
		n.sockets[i] = k
		p.opened = append(p.opened, k)
		n.changeOwners(k, config) // of one that was handed over
	}
	return nil
}

// open binds an address, and names what is in the way if that is this process itself. A
// Unix socket asks whoever has the path whether he is there, which is not to be a session.
func (p *Prepared) open(address pool.Address, config *ListenerConfig) (*listenSocket, error) {
	if k := p.inherited(address, config.Name); k != nil {
		return k, nil
	}
	if address.IsUnix() {
		if err := p.inTheWay(address); err != nil {
			return nil, err
		}
	}
	k, err := openSocket(address, config)
	if errors.Is(err, syscall.EADDRINUSE) && !address.IsUnix() {
		if own := p.inTheWay(address); own != nil {
			return nil, own
		}
	}
	if err != nil {
		return nil, bindHint(err, address)
	}
	return k, nil
}

// doors returns the sockets that there are, and those that are to be.
func (p *Prepared) doors() []door {
	doors := p.srv.doors()
	for _, n := range p.next {
		for _, k := range n.sockets {
			if k != nil {
				doors = append(doors, door{k, n.listener})
			}
		}
	}
	return doors
}

// inTheWay returns an error if a socket of this server keeps an address from being bound.
func (p *Prepared) inTheWay(address pool.Address) error {
	doors := p.doors()
	i := slices.IndexFunc(doors, func(d door) bool { return d.covers(address) })
	if i < 0 {
		return p.handedInTheWay(address, doors)
	}
	stays := slices.ContainsFunc(p.next, func(n nextListener) bool { return slices.Contains(n.sockets, doors[i].listenSocket) })
	hint := "one of the two must go"
	if !stays {
		hint = "it is given up only when all else is in place: remove it first, and add this with the next change"
	}
	return fmt.Errorf("%w: this process itself listens at %s for listener %q: %s",
		syscall.EADDRINUSE, doors[i].bound, doors[i].listener.name, hint)
}

// handedInTheWay is inTheWay for the sockets that another server hands over and that none of
// some doors has.
func (p *Prepared) handedInTheWay(address pool.Address, doors []door) error {
	for _, s := range p.srv.config.Inherited {
		if s.Handed != nil && !isOpen(s.FD, doors) && s.Handed.listenSocket().covers(address) {
			return fmt.Errorf("%w: the process before this one listens at %s for listener %q, which is given up only when "+
				"all else is in place: remove it first, and add this with the next change",
				syscall.EADDRINUSE, s.Handed.Bound, s.Handed.Listener)
		}
	}
	return nil
}

// changeOwners notes that the file of a socket that stays is to have other owners.
func (n *nextListener) changeOwners(k *listenSocket, config *ListenerConfig) {
	if k.file == nil {
		return
	}
	if owners := fileOf(k.address, config); !owners.Equal(k.owners) {
		if n.owners == nil {
			n.owners = make(map[*listenSocket]SocketFile)
		}
		n.owners[k] = owners
	}
}

func (p *Prepared) closeOpened() {
	for _, k := range p.opened {
		k.close()
	}
	p.opened = nil
}

// check returns what is wrong with an update for a server of so many loops.
func (c *Update) check(loops int) error {
	if c.MaxSessions < 0 {
		return fmt.Errorf("%d sessions at most: must not be negative", c.MaxSessions)
	}
	names := make(map[string]bool)
	for i := range c.Listeners {
		l := &c.Listeners[i]
		if names[l.Name] {
			return fmt.Errorf("listener %q: there are two of that name", l.Name)
		}
		names[l.Name] = true
		if err := l.check(loops); err != nil {
			return fmt.Errorf("listener %q: %w", l.Name, err)
		}
	}
	return nil
}

func (l *ListenerConfig) check(loops int) error {
	if err := l.checkTargets(loops); err != nil {
		return err
	}
	if l.MaxSessions < 0 {
		return fmt.Errorf("max_sessions %d: must not be negative", l.MaxSessions)
	}
	if err := l.PerClient.Check(); err != nil {
		return err
	}
	if len(l.Bind) == 0 {
		return errors.New("no address to bind")
	}
	return nil
}
