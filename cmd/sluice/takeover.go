package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/systemd"
	"sluice/cmd/sluice/internal/takeover"
	"sluice/configs"
	"sluice/l4"
	"sluice/pool"
	"sluice/pool/discovery"
	"sluice/sysutil"
	"sluice/sysutil/handoff"
)

const (
	// connectTime bounds how long the other process may take to answer who it is.
	connectTime = 10 * time.Second
	// stateTime bounds how long it may take to send what is not a session.
	stateTime = time.Minute
)

// A takeOver is the hand-over from another process, seen from the one that follows. It does nothing with what it is handed
// before it is told to: until then the other process goes on with it, whatever has become of this one.
type takeOver struct {
	socket string // the control socket of the other process
	conn   *handoff.Conn
	pidfd  int // of the other process
	from   takeover.Version
	state  takeover.State
	files  []int // that came with it; what is used of them is no longer here

	arrival  *l4.Arrival   // a batch that is not this process's yet; nil = there is none
	arriving int           // how many sessions it has
	waiting  []*l4.Arrival // this process's, which are not to go on yet
	adopted  int           // sessions that are this process's
	accepts  bool
	dead     bool                              // the other process has ended
	left     int                               // sessions that are still to come
	taken    map[string]bool                   // admin sockets that there is a use for
	counted  map[string][]pool.BackendCounters // by pool, what was told last
	upgrade  admin.UpgradeStatus

	mu     sync.Mutex // guards what follows
	asked  bool       // this process is to end: it gives up
	serves bool       // this process is the one that serves: it is too late for that
}

// connectTo asks the sluice at a control socket to be taken over.
func connectTo(socket string) (_ *takeOver, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), connectTime)
	defer cancel()
	c, err := admin.TakeOver(ctx, socket)
	if err != nil {
		return nil, fmt.Errorf("take over: %w", explainAnswer(socket, err))
	}
	t := &takeOver{socket: socket, conn: handoff.New(c), pidfd: -1, taken: make(map[string]bool), counted: make(map[string][]pool.BackendCounters)}
	defer func() {
		if err != nil {
			t.close()
			err = fmt.Errorf("take over from the sluice at %s: %w", socket, err)
		}
	}()
	_ = t.conn.SetDeadline(time.Now().Add(connectTime))
	if err := t.conn.Send(handoff.Hello, thisVersion()); err != nil {
		return nil, err
	}
	m, err := t.conn.Expect(handoff.Welcome)
	if err != nil {
		return nil, err
	}
	if err := m.Decode(&t.from); err != nil {
		m.CloseFiles()
		return nil, err
	}
	if len(m.Files) != 1 {
		m.CloseFiles()
		return nil, errors.New("it does not say which process it is")
	}
	t.pidfd = m.Files[0]
	return t, nil
}

// close gives up the connection, and what was handed over and is not used.
func (t *takeOver) close() {
	_ = t.conn.Close()
	sysutil.CloseFiles(slices.DeleteFunc(t.files, func(fd int) bool { return fd < 0 }))
	t.files = nil
	if t.pidfd >= 0 {
		sysutil.Close(t.pidfd)
		t.pidfd = -1
	}
}

// fail tells the other process why it is not followed.
func (t *takeOver) fail(why error) {
	t.hangUp(why)
	t.close()
}

// peerError says why this process does not follow. The text goes into a log and a status: what is wrong with a configuration
// is on one line there, without the lines that it quotes.
func peerError(why error) handoff.PeerError {
	problems := configs.Problems(nil)
	if !errors.As(why, &problems) {
		return handoff.PeerError{Text: why.Error()}
	}
	var list []string
	for _, p := range problems {
		list = append(list, p.String())
	}
	told, _ := json.Marshal(problems) // strings and numbers
	return handoff.PeerError{Text: strings.Join(list, "; "), Problems: told}
}

// take asks for all that is not a session: the configuration is good.
func (t *takeOver) take() error {
	_ = t.conn.SetDeadline(time.Now().Add(stateTime))
	if err := t.conn.Send(handoff.Take, nil); err != nil {
		return err
	}
	m, err := t.conn.Expect(handoff.State)
	if err != nil {
		return err
	}
	t.files = m.Files
	if err := m.Decode(&t.state); err != nil {
		return err
	}
	if n := len(t.state.Sockets) + len(t.state.Passed) + len(t.state.Admin); n != len(t.files) {
		return fmt.Errorf("%d sockets came, and it says that there are %d", len(t.files), n)
	}
	return nil
}

// sockets returns what l4 is to listen at, and the sockets of the service manager.
func (t *takeOver) sockets() (inherited []l4.InheritedSocket, passed passedSockets) {
	for i := range t.state.Sockets {
		inherited = append(inherited, t.state.Sockets[i].Inherited(t.files[i]))
	}
	for i, p := range t.state.Passed {
		passed = append(passed, systemd.Socket{
			Name: p.Name, FD: t.files[len(t.state.Sockets)+i], TCP: p.Address.TCP, Unix: p.Address.Unix,
		})
	}
	return inherited, passed
}

// answers returns what the sources of the other process have said. One of version 1.0 has looked up the names of backends
// once: that is the answer of the sources that stand for them now.
func (t *takeOver) answers() []discovery.Saved {
	all := t.state.Answers
	if len(all) > 0 {
		return all
	}
	for _, a := range t.state.Addresses {
		found := discovery.Found{Host: a.Host, Address: a.Address}
		source := hostSource(&found)
		found.Host = ""
		i := slices.IndexFunc(all, func(s discovery.Saved) bool { return s.Source == source.Key() })
		if i < 0 {
			i, all = len(all), append(all, discovery.Saved{Source: source.Key(), At: time.Now(), Generation: 1})
		}
		all[i].Found = append(all[i].Found, found)
	}
	return all
}

// adminSocket returns a listener of the admin API that the other process has had at an address; nil: it had none.
func (t *takeOver) adminSocket(of, address, path string) (net.Listener, error) {
	i := slices.IndexFunc(t.state.Admin, func(s takeover.AdminSocket) bool { return s.For == of && s.Address == address })
	if i < 0 {
		return nil, nil
	}
	at := len(t.state.Sockets) + len(t.state.Passed) + i
	l, err := admin.Adopt(t.give(at), path, t.state.Admin[i].File)
	t.taken[of] = err == nil
	return l, err
}

// give gives a descriptor away.
func (t *takeOver) give(i int) (fd int) {
	fd, t.files[i] = t.files[i], -1
	return fd
}

// giveSockets gives those away that l4 has, and those of the service manager, which stay open.
func (t *takeOver) giveSockets() {
	for i := range len(t.state.Sockets) + len(t.state.Passed) {
		t.give(i)
	}
}

func (t *takeOver) untakenAdmin() (list []string) {
	for _, s := range t.state.Admin {
		if !t.taken[s.For] {
			list = append(list, s.For)
		}
	}
	return list
}
