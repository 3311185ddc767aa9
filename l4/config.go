package l4

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"sluice/l4/clients"
	"sluice/l4/route"
	"sluice/pool"
	"sluice/pool/words"
	"sluice/sysutil"
)

// Config is everything a Server needs. It must not change after New.
type Config struct {
	// Loops is the number of event loops; 0 = one per CPU this process may use.
	Loops int
	// Listeners are those with which the server begins, if it does with any; Server.Prepare
	// changes them, and MaxSessions.
	Listeners []ListenerConfig
	// Inherited are listening sockets with which this process was started, or that another server hands
	// over. A listener that is to listen at the address of one takes it in place of binding it.
	Inherited []InheritedSocket
	// Hold lets Start accept nobody until Accept is called.
	Hold bool
	// Pools returns the pools that sessions of another server can go on in, though no listener names
	// them: it may be called by several goroutines, and must not block. nil = there are no others.
	Pools func() []*pool.Pool
	// MaxSessions bounds the sessions of all listeners together: what the
	// descriptors of the process are enough for. Beyond it connections wait in
	// the kernel's backlog. 0 = no limit.
	MaxSessions int
	// MaxCancels bounds the cancel requests of Postgres under way, and the
	// connections for them, which have descriptors besides those of sessions.
	// 0 = 128.
	MaxCancels int
	// Logger receives what an operator must know of the data path itself;
	// nil = slog.Default(). Sessions are reported through OnEnd.
	Logger *slog.Logger
	// OnEnd is told of every session that ended. It is called on a loop: it
	// must not block. nil = nobody.
	OnEnd func(End)
	// WantLocal says of which ends OnEnd wants to know End.Local, which costs a
	// system call. It is called on a loop, too. nil = of none.
	WantLocal func(Reason) bool
	// OnDial is told how long every connect to a backend took and how it went.
	// It is called on a loop: it must not block. nil = nobody.
	OnDial func(*pool.Backend, time.Duration, pool.DialResult)
	// OnWait is told how long every wait in the queue of a pool took, whether a
	// backend came of it or not. It is called on a loop: it must not block. nil = nobody.
	OnWait func(*pool.Pool, time.Duration)
	// OnAnswer is told how long a backend took from a client's first packet to the first
	// byte of the answer, where the listener's protocol has a first packet. It is called
	// on a loop: it must not block. nil = nobody.
	OnAnswer func(*pool.Backend, time.Duration)
}

// An InheritedSocket is a listening socket that another process has opened and also holds, such as systemd. It must be
// CLOEXEC and NONBLOCK. It is never closed here, nor is its backlog emptied at the end: who waits there is for the next
// process that the other one starts.
type InheritedSocket struct {
	Address pool.Address // as a listener's Bind has it
	FD      int
	// Handed says what is known of one that another server hands over; nil = none does. Until Own it is treated as
	// that server's, after that as if it had been opened here, unless the service manager has it too. New takes the
	// descriptor over, if it gives no error.
	Handed *HandedSocket
}

// SocketFile says who may connect to a Unix socket that has a file.
type SocketFile = sysutil.SocketFile

// ListenerConfig is one listener: addresses, and where their sessions go.
type ListenerConfig struct {
	Name string
	Bind []pool.Address // a TCP address without an IP means every address of both families
	// Freebind lets TCP addresses be bound that this machine does not have yet.
	Freebind bool
	// Socket says who may connect to the files of Unix sockets in Bind.
	Socket SocketFile
	// Routes say where sessions go by what their first bytes say; the first
	// that takes a session wins. Protocol must be one that reads them.
	Routes []RoutedTarget
	// Target is where sessions go that no route takes; without a pool they are
	// refused.
	Target Target
	// Protocol says what may be read before bytes are relayed.
	Protocol Protocol
	// AcceptProxy makes a PROXY header required; nil = the socket's addresses
	// are the client's.
	AcceptProxy *AcceptProxy
	// Allow and Deny say which clients may come in, by their real addresses. An
	// empty Allow means everybody; Deny wins.
	Allow, Deny []netip.Prefix
	// MaxSessions bounds the sessions of this listener: beyond it connections
	// wait in the kernel's backlog. 0 = no limit of its own.
	MaxSessions int
	// PerClient bounds what each client may have and begin.
	PerClient clients.Limits
	// PeekTimeout bounds the wait for what Protocol reads; 0 = no bound.
	PeekTimeout time.Duration
	// DeadPeer ends sessions whose client acknowledges nothing for so long,
	// neither data nor keepalives; 0 = when the kernel gives up, which may be
	// never.
	DeadPeer time.Duration
	// IdleTimeout ends a session in which no byte moved for so long; 0 = never.
	IdleTimeout time.Duration
	// FinTimeout ends a session in which no byte moved for so long after the
	// first FIN; 0 = IdleTimeout goes on to count.
	FinTimeout time.Duration
}

// A RoutedTarget is a target with the condition for it.
type RoutedTarget struct {
	route.Rule
	Target Target
}

// A Target is a pool and how its backends are dialled.
type Target struct {
	Pool      *pool.Pool
	SendProxy ProxyVersion
	// TLVs are added to a header of version 2.
	TLVs []TLV
	// ConnectTimeout bounds all connects of a session together, from the
	// moment it has a backend: while there is another backend to try, one
	// connect gets its even share of what is left. 0 = the kernel's own limit
	// for each, about two minutes.
	ConnectTimeout time.Duration
	// AnswerTimeout bounds the wait for a backend's answer to the first packet of a
	// Postgres client while there is another backend to try; 0 = as ConnectTimeout.
	AnswerTimeout time.Duration
	// Retries is how many further backends are tried in one round, when a
	// connect fails or a backend hangs up before it has answered. Where the
	// pool has a queue, the next round begins after a second of waiting.
	Retries int
	// QueueTimeout bounds how long a session waits in the pool's queue, all
	// its waits together; 0 = no bound.
	QueueTimeout time.Duration
	// Sources are addresses of this machine from which backends of their family
	// are connected to, in turn: each has ports of its own. Empty = the kernel
	// chooses one.
	Sources []netip.Addr
	// DeadPeer is ListenerConfig.DeadPeer for the connections to backends.
	DeadPeer time.Duration
	// MaxAge bounds how old sessions get.
	MaxAge MaxAge
	// NoteReady notes when sessions of Postgres in clear are between transactions, for
	// LongestIdle. It costs a look at each message.
	NoteReady bool
}

// AcceptProxy says from whom a PROXY header is accepted. Any other peer is
// refused, because the specification forbids to guess (section 2).
type AcceptProxy struct {
	From []netip.Prefix
	// Timeout bounds the wait for a complete header; 0 = no bound.
	Timeout time.Duration
}

// trusts reports whether peer may send a header. A peer on a Unix socket has
// passed the file system's permissions, so it may.
func (a *AcceptProxy) trusts(peer netip.Addr) bool {
	holds := func(p netip.Prefix) bool { return clients.Network(p).Contains(peer) }
	return !peer.IsValid() || slices.ContainsFunc(a.From, holds)
}

// ProxyVersion is the PROXY protocol version sent to backends.
type ProxyVersion uint8

// The versions; the zero value sends no header.
const (
	ProxyOff ProxyVersion = iota
	ProxyV1
	ProxyV2
)

var proxyVersions = words.Table[ProxyVersion]{
	Type: "ProxyVersion", What: "PROXY version", Words: []string{ProxyOff: "off", ProxyV1: "v1", ProxyV2: "v2"},
}

// ProxyVersions returns the words that UnmarshalText takes.
func ProxyVersions() []string { return proxyVersions.All() }

// String returns the word for v.
func (v ProxyVersion) String() string { return proxyVersions.Of(v) }

// MarshalText returns the word for v.
func (v ProxyVersion) MarshalText() ([]byte, error) { return proxyVersions.Marshal(v) }

// UnmarshalText sets v from its word.
func (v *ProxyVersion) UnmarshalText(text []byte) error { return proxyVersions.Unmarshal(text, v) }

func (c *Config) validate() error {
	if c.Loops < 0 {
		return fmt.Errorf("loops %d: must not be negative", c.Loops)
	}
	if c.MaxCancels < 0 {
		return fmt.Errorf("%d cancel requests at most: must not be negative", c.MaxCancels)
	}
	return nil
}
