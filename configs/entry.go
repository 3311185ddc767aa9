package configs

import (
	"strings"

	"sluice/pool"
	"sluice/pool/discovery/dns"
	"sluice/pool/discovery/docker"
	"sluice/pool/discovery/file"
)

// An Entry is a place of a pool that a source fills with backends: an item of discover, or a backend with a host name in
// its address.
type Entry struct {
	Source SourceConfig
	Name   string // of a backend: as its name or its address is written; "" = an item of discover
	Named  bool   // Name is not the address
	Before int    // it stands before this one of Config.Backends; their number = after all of them, like what discover finds

	// Template is what a backend has of which the source says nothing else. It has no name and no address.
	Template pool.BackendConfig

	At Problem // where it is written; it has no message
}

// SourceConfig is a source of backends: exactly one of its fields is there.
type SourceConfig struct {
	DNS    *dns.Config
	File   *file.Config
	Docker *docker.Config
}

// Key tells the source from others, as discovery.Source has it.
func (s SourceConfig) Key() string {
	switch {
	case s.DNS != nil:
		return s.DNS.Key()
	case s.File != nil:
		return s.File.Key()
	}
	return s.Docker.Key()
}

// OnEmpty is what becomes of backends whose source says that there are none.
type OnEmpty string

// What may become of them.
const (
	OnEmptyAuto  OnEmpty = "auto"  // OnEmptyEmpty for containers, else OnEmptyKeep
	OnEmptyKeep  OnEmpty = "keep"  // the last answer that had some counts
	OnEmptyEmpty OnEmpty = "empty" // they vanish
)

// Keeps reports whether the last backends stay when a source says that there are none. A name or a file that is empty is
// more often a mistake than meant. An Engine knows: what has been stopped does not answer any more, and clients had better
// wait for what is started in its place.
func (o OnEmpty) Keeps(source SourceConfig) bool {
	return o == OnEmptyKeep || o == OnEmptyAuto && source.Docker == nil
}

// hostEntry is the entry of a backend whose address has a host name.
func hostEntry(b pool.BackendConfig, host string, named bool, before int, at Problem) Entry {
	source := dns.DefaultConfig(host, b.Address.TCP.Port())
	e := Entry{Source: SourceConfig{DNS: &source}, Name: b.Name, Named: named, Before: before, Template: b, At: at}
	e.Template.Name, e.Template.Address = "", pool.Address{}
	return e
}

// title is how messages call what the entry finds.
func (e *Entry) title() string {
	if e.Name != "" {
		return quote(e.Name)
	}
	kind, rest, _ := strings.Cut(e.Source.Key(), " ")
	return kind + ": " + quote(rest)
}

// mayTakeSessions reports whether a backend can come from it that takes new sessions.
func (e *Entry) mayTakeSessions() bool {
	saysWeight := e.Source.DNS == nil || e.Source.DNS.AsksSRV()
	return e.Source.File != nil || e.Template.State == pool.Ready && (e.Template.Weight > 0 || saysWeight)
}
