package configs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sluice/health"
	"sluice/l4"
	"sluice/l4/route"
	"sluice/pool"
)

// File is a complete configuration. Everything in it has been checked: names are unique, pools exist, host names are
// resolved but for those of backends, which are Pool.Entries.
type File struct {
	Loops     int // event loops; 0 = one per CPU this process may use
	Admin     Admin
	Log       Log
	Shutdown  Shutdown
	Upgrade   Upgrade
	Listeners []Listener // in the order of the file; at least one
	Pools     []Pool     // in the order of the file; at least one
	Warnings  Problems   // what is not wrong, and yet hardly meant
	Written   Written    // but for listeners, pools and defaults
}

// Pool returns the pool of that name; nil when there is none.
func (f *File) Pool(name string) *Pool {
	for i := range f.Pools {
		if f.Pools[i].Config.Name == name {
			return &f.Pools[i]
		}
	}
	return nil
}

// Admin says where the program itself can be asked.
type Admin struct {
	Listen  string         // HOST:PORT of the read-only API and metrics; "" = off
	Hosts   []string       // names in lower case that requests there may be for, besides addresses, localhost and Listen's own
	Allow   []netip.Prefix // who may ask at Listen; none = everybody
	Metrics string         // HOST:PORT for /metrics, /healthz and /readyz alone; "" = off
	Socket  string         // absolute path of the Unix socket with the whole API; "" = off

	SocketFile l4.SocketFile // who may connect there; without a mode the owner alone
	StateFile  string        // absolute path of the file for what is to outlive the process; "" = none
}

// Log says what is logged and how.
type Log struct {
	Level    slog.Level
	Format   LogFormat
	Sessions SessionLog
}

// Shutdown says how the process ends once it is asked to.
type Shutdown struct {
	Delay time.Duration // for so long it serves as before, and says only that it is not ready; 0 = not at all
	Drain time.Duration // bounds the wait for the sessions that are open after that; 0 = until they end
}

// Upgrade says how sessions come to another process that takes over.
type Upgrade struct {
	Deadline time.Duration // bounds the wait for sessions that cannot go at once; 0 = they are not waited for
	Leftover Leftover
}

// Leftover is what becomes of sessions that have not gone to the other process when the deadline is over.
type Leftover string

// What may become of them.
const (
	LeftoverEnd   Leftover = "end"   // they are ended
	LeftoverDrain Leftover = "drain" // they stay until they end, within Shutdown.Drain
)

// LogFormat is how a log line looks.
type LogFormat string

// The log formats.
const (
	FormatText LogFormat = "text"
	FormatJSON LogFormat = "json"
)

// SessionLog is which sessions get a log line when they end.
type SessionLog string

// The choices of sessions to log.
const (
	SessionsOff    SessionLog = "off"
	SessionsFailed SessionLog = "failed"
	SessionsAll    SessionLog = "all"
)

// Listener is one listener: the settings that the data path has of it, but for what a file names by a word.
type Listener struct {
	l4.ListenerConfig
	Routes      []Route  // in the order of the file: the first that takes a session wins
	Pool        string   // of the sessions that no route takes: one of File.Pools, or "" = they are refused
	Allow, Deny Networks // by real client address; an Allow that is zero means everybody; Deny wins
	Written     Written
}

// Route says which sessions of a listener go to a pool.
type Route struct {
	route.Rule
	Pool string // the name of one of File.Pools
}

// Pool is one pool with everything that is set per pool.
type Pool struct {
	Config    pool.Config // Shards is left 0: only the program knows how many loops will run
	Health    health.Config
	Rebalance Rebalance
	l4.Target         // without its Pool, which only the program makes
	Written   Written // but for backends

	Entries     []Entry       // what sources give to it: backends with host names, then the items of discover
	OnEmpty     OnEmpty       // what becomes of its backends when a source says there are none
	RemoveAfter time.Duration // how long a backend stays without new sessions that no source knows any more; 0 = not at all
}

// DefaultSocket is where a sluice and the commands that ask it meet when nothing else is said.
const DefaultSocket = "/run/sluice/sluice.sock"

func defaultFile() *File {
	return &File{
		Admin: Admin{Listen: "127.0.0.1:9600", Socket: DefaultSocket, StateFile: stateFile(os.Getenv("STATE_DIRECTORY"))},
		Log:   Log{Level: slog.LevelInfo, Format: FormatText, Sessions: SessionsFailed},

		Upgrade: Upgrade{Deadline: 30 * time.Second, Leftover: LeftoverEnd},
	}
}

// stateFile returns where the state is kept when nothing else is said: in the folder that the service manager made for it
// (systemd.exec(5), StateDirectory=), the first if there are several.
func stateFile(folders string) string {
	folder, _, _ := strings.Cut(folders, ":")
	if !filepath.IsAbs(folder) {
		return ""
	}
	return filepath.Join(folder, "state.json")
}

func defaultListener(name string) Listener {
	return Listener{
		ListenerConfig: l4.ListenerConfig{
			Name: name, PeekTimeout: 5 * time.Second, FinTimeout: 10 * time.Minute, DeadPeer: defaultDeadPeer,
		},
	}
}

// defaultDeadPeer ends the sessions of a peer that is gone in less than a minute.
const defaultDeadPeer = 50 * time.Second

func defaultPool(name string) Pool {
	return Pool{
		Config: pool.Config{Name: name, QueueMax: 1024},
		Health: health.DefaultConfig(),
		Target: l4.Target{
			QueueTimeout: 10 * time.Second, DeadPeer: defaultDeadPeer, ConnectTimeout: 3 * time.Second, Retries: 2,
			MaxAge: l4.MaxAge{Jitter: 0.1},
		},
		OnEmpty: OnEmptyAuto, RemoveAfter: 30 * time.Second,
	}
}

func defaultAcceptProxy() *l4.AcceptProxy { return &l4.AcceptProxy{Timeout: 5 * time.Second} }

func defaultBackend() pool.BackendConfig { return pool.BackendConfig{Weight: 1} }

// maxFileSize is far beyond any real configuration, about ten thousand pools, and beyond the certificates of every
// authority there is.
const maxFileSize = 1 << 20

const tooLarge = "the file is larger than 1 MiB: this is not a configuration of sluice"

// Load reads, checks and resolves a configuration: that of a file, of several, or of every *.yaml and *.yml in a folder,
// by name. "-" is the standard input. The error is Problems, also when a file cannot be read.
//
// Host names, but for those of backends, are resolved once, now, all within 5 seconds. A name with several addresses stands
// for one of them: the first IPv4 address, or the first IPv6 address when there is no IPv4.
func Load(paths ...string) (*File, error) {
	return load(paths, false)
}

// LoadOffline is Load that looks up no name and reads no other files: what they would say is left open. What it returns
// is to be looked at, not to be run.
func LoadOffline(paths ...string) (*File, error) {
	return load(paths, true)
}

func load(paths []string, offline bool) (*File, error) {
	sources, err := readSources(paths)
	if err != nil {
		return nil, err
	}
	d := newDecoder(sources...)
	d.offline = offline
	return d.load(net.DefaultResolver.LookupNetIP)
}

// withoutPath returns why a file could not be read, for messages that name it already.
func withoutPath(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}

// readFile reads one byte more than the file may have, so that the caller is the one to refuse a huge file.
func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most+1))
}

// Parse is Load for a file that has been read. name stands for the file in problems, and its folder is where relative
// names of other files, such as password_file, are looked for.
func Parse(name string, data []byte) (*File, error) {
	return parse(name, data, net.DefaultResolver.LookupNetIP)
}

func parse(name string, data []byte, lookup lookupFunc) (*File, error) {
	if len(data) > maxFileSize {
		return nil, Problems{{File: name, Message: tooLarge}}
	}
	return newDecoder(newSource(name, data)).load(lookup)
}

// A SourceText is a file of a configuration, for those who cannot read each other's files. Name stands for it in problems,
// and its folder is where relative names of other files are looked for.
type SourceText struct {
	Name string `json:"name"`
	Text string `json:"text"`

	// Generated says that nobody has written it, and that it may come to nothing: with it a configuration needs no listener
	// and no pool.
	Generated bool `json:"-"`
}

// ReadTexts reads the files that Load would, and nothing of what is in them. The error is Problems.
func ReadTexts(paths ...string) (texts []SourceText, err error) {
	sources, err := readSources(paths)
	for _, s := range sources {
		texts = append(texts, SourceText{Name: s.file, Text: s.text})
	}
	return texts, err
}

// ParseTexts is Load for files that have been read.
func ParseTexts(texts ...SourceText) (*File, error) {
	var sources []*source
	mayBeEmpty := false
	for _, t := range texts {
		if len(t.Text) > maxFileSize {
			return nil, Problems{{File: t.Name, Message: tooLarge}}
		}
		sources = append(sources, newSource(t.Name, []byte(t.Text)))
		mayBeEmpty = mayBeEmpty || t.Generated
	}
	if len(sources) == 0 {
		return nil, Problems{{File: "configuration", Message: "no file"}}
	}
	d := newDecoder(sources...)
	d.mayBeEmpty = mayBeEmpty
	return d.load(net.DefaultResolver.LookupNetIP)
}

// load makes a File of what was read.
func (d *decoder) load(lookup lookupFunc) (*File, error) {
	file := defaultFile()
	if root := d.wholeRoot(); root != nil {
		d.decode(root, file)
	}
	d.resolve(context.Background(), lookup)
	d.checkBinds()
	d.checkOwn()
	d.checkSources(file)
	d.tryChecks(file)
	if len(d.problems) > 0 {
		return nil, d.result()
	}
	d.checkPurpose(file)
	d.warnings.sort(d.order)
	file.Warnings = d.warnings
	return file, nil
}

// bom is the byte order mark that some editors put before the first line.
var bom = []byte("\ufeff")

// text returns data without what differs between editors only: a byte order mark and the kind of line end.
func text(data []byte) string {
	data = bytes.TrimPrefix(data, bom)
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	return string(bytes.ReplaceAll(data, []byte("\r"), []byte("\n")))
}
