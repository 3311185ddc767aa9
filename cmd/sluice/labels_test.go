package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sluice/configs"
	"sluice/l4"
	"sluice/pool"
	"sluice/pool/discovery"
)

// TestAskedWarnings: what check says of a source that has an answer, and something to say of single backends.
func TestAskedWarnings(t *testing.T) {
	at := pool.Address{TCP: netip.MustParseAddrPort("10.0.0.1:80")}
	no := errors.New("it is this sluice")
	_, broken := configs.ParseBackends("l.yaml", []byte("- {addres: 10.0.0.1:80}\n- {address: 10.0.0.2}\n"))
	_, hopeless := configs.ParseBackends("l.yaml", []byte(strings.Repeat("- 5\n", maxWarned+2)))
	if got := (asked{nil, hopeless}).warnings(nil); len(got) != maxWarned+1 || got[maxWarned] != "2 more problems: there are no backends of it until it answers" {
		t.Errorf("%q", got)
	}
	for _, c := range []struct {
		err    error
		barred error
		want   []string
	}{
		{}, {discovery.Warnings{"container a: no port"}, nil, []string{"container a: no port"}},
		{discovery.Warnings{"container a: no port"}, no, []string{"container a: no port", "it is this sluice"}},
		{fmt.Errorf("ask: %w", broken), nil, []string{
			`l.yaml:1:4: unknown key "addres" in backend: did you mean address?`,
			`l.yaml:2:13: "10.0.0.2" has no port: write 10.0.0.2:PORT: there are no backends of it until it answers`,
		}},
		{errors.New("refused"), no, []string{"refused: there are no backends of it until it answers"}},
	} {
		a := asked{[]discovery.Found{{Address: at}}, c.err}
		if got := a.warnings(func(pool.Address) error { return c.barred }); !slices.Equal(got, c.want) {
			t.Errorf("with %v, %v: %q, want %q", c.err, c.barred, got, c.want)
		}
	}
}

// TestLeaveOut: only what labels have made is left out, and without labels nothing is.
func TestLeaveOut(t *testing.T) {
	err := &l4.BindError{Listener: "web", Err: syscall.EADDRINUSE}
	if (*labelConfig)(nil).leaveOut(err) || newLabelConfig("unix:/s").leaveOut(err) {
		t.Error("a listener of nobody's labels is left out")
	}
	if newLabelConfig("unix:/s").leaveOut(errors.New("no")) {
		t.Error("an error that is of no listener leaves one out")
	}
}

// TestLabelsAreNoBackends: that the containers of labels are no backends is not said as if these had been lost.
func TestLabelsAreNoBackends(t *testing.T) {
	s := new(sources)
	r := &applyRig{T: t, dir: t.TempDir()}
	r.text.Store(strings.Replace(foundText, "PORT", portOf(freeAddress(t)), 1))
	file, err := r.parse()
	if err != nil {
		t.Fatal(err)
	}
	log, out := newLogger(io.Discard, file.Log)
	t.Cleanup(out.close)
	l := newLabelConfig("unix:" + filepath.Join(r.dir, "engine"))
	r.serve(file, log, out, bindAdvice{labels: l, source: func(c configs.SourceConfig) discovery.Source { return s.source(c.Key()) }})
	_, body := r.get("/metrics")
	if !strings.Contains(body, `sluice_discovery_up{source="`+l.Key()+`"} 0`) {
		t.Errorf("labels are not among the sources:\n%s", body)
	}
	if strings.Contains(body, `sluice_discovery_backends{source="`+l.Key()+`"}`) || !strings.Contains(body, `sluice_discovery_backends{source="dns app:80"} 0`) {
		t.Errorf("backends of sources:\n%s", body)
	}
}
