package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/pool/discovery"
)

// patient is how long a test waits for what must happen.
const patient = 30 * time.Second

// A stand is what a Docker Engine answers, held by the test: the answers to each path, and a stream of events.
type stand struct {
	t      *testing.T
	socket string // as a configuration has it
	server *http.Server

	mu      sync.Mutex
	api     string // newest version that it speaks
	least   string // oldest one
	list    string // of containers, as JSON
	status  int    // of the answer with the list; 0 = 200
	inspect map[string]string
	asked   []string // paths with their queries
	streams map[chan string]bool
	connect int // connections made so far
}

// startStand listens on a socket of its own, or again on one where another one has listened.
func startStand(t *testing.T, path string) *stand {
	t.Helper()
	if path == "" {
		path = socketPath(t)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &stand{t: t, socket: "unix:" + path, api: "1.41", list: "[]", inspect: make(map[string]string), streams: make(map[chan string]bool)}
	s.server = &http.Server{Handler: s, ConnState: func(_ net.Conn, to http.ConnState) {
		if to == http.StateNew {
			s.mu.Lock()
			s.connect++
			s.mu.Unlock()
		}
	}}
	go func() { _ = s.server.Serve(l) }() // until it is closed
	t.Cleanup(s.close)
	return s
}

// socketPath returns a short path: there is room for 107 bytes.
func socketPath(t *testing.T) string {
	dir, err := os.MkdirTemp("", "docker-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// close ends everything, the streams too.
func (s *stand) close() { _ = s.server.Close() }

func (s *stand) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.URL.String())
	api, least, list, status := s.api, s.least, s.list, s.status
	s.mu.Unlock()
	_, path, versioned := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1."), "/")
	id, one := strings.CutPrefix(strings.TrimSuffix(path, "/json"), "containers/")
	switch {
	case r.URL.Path == "/_ping":
		w.Header().Set("Api-Version", api)
		fmt.Fprint(w, "OK")
	case r.URL.Path == "/version":
		fmt.Fprintf(w, `{"ApiVersion": %q, "MinAPIVersion": %q}`, api, least)
	case versioned && path == "events":
		s.stream(w, r)
	case versioned && path == "containers/json":
		if status != 0 {
			w.WriteHeader(status)
		}
		fmt.Fprint(w, list)
	case versioned && one:
		s.mu.Lock()
		defer s.mu.Unlock()
		fmt.Fprint(w, s.inspect[id])
	default:
		http.NotFound(w, r)
	}
}

// stream sends events until the client has gone or the stream is cut.
func (s *stand) stream(w http.ResponseWriter, r *http.Request) {
	events := make(chan string, 100)
	s.mu.Lock()
	s.streams[events] = true
	s.mu.Unlock()
	flush := http.NewResponseController(w)
	_ = flush.Flush() // the client may be gone: then the next line ends it
	for {
		select {
		case <-r.Context().Done():
			return
		case e, open := <-events:
			if !open {
				return
			}
			fmt.Fprintln(w, e)
			_ = flush.Flush()
		}
	}
}

// answer changes what is answered.
func (s *stand) answer(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// containers sets the list.
func (s *stand) containers(all ...string) {
	s.answer(func() { s.list = "[" + strings.Join(all, ",") + "]" })
}

// event sends one about a container to all who listen.
func (s *stand) event(action, id string, attributes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]string{"sluice.pool": "app"}
	for i := 0; i < len(attributes); i += 2 {
		all[attributes[i]] = attributes[i+1]
	}
	kind, actor := "container", id
	if action == "connect" || action == "disconnect" {
		kind, actor, all = "network", "net", map[string]string{"container": id}
	}
	text, err := json.Marshal(map[string]any{
		"Type": kind, "Action": action, "Actor": map[string]any{"ID": actor, "Attributes": all}, "timeNano": time.Now().UnixNano(),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	for events := range s.streams {
		events <- string(text)
	}
}

// cut ends the streams of events.
func (s *stand) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for events := range s.streams {
		close(events)
		delete(s.streams, events)
	}
}

// questions returns how often something has been asked whose URL has a text in it.
func (s *stand) questions(part string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, asked := range s.asked {
		if strings.Contains(asked, part) {
			n++
		}
	}
	return n
}

// sample is a container in a list, which is as old as its name says. with replaces parts of it.
func sample(id, ip string, with ...string) string {
	age := 0
	for _, b := range []byte(id) {
		age += int(b)
	}
	with = append(with, "{age}", strconv.Itoa(age))
	text := `{"Id": "` + id + `", "Names": ["/other/alias", "/` + id + `"], "Created": {age},
		"Labels": {"sluice.pool": "app", "maintainer": "somebody"}, "State": "running", "Status": "Up 5 minutes",
		"Ports": [{"PrivatePort": 8080, "Type": "tcp"}, {"IP": "0.0.0.0", "PublicPort": 1, "PrivatePort": 8080, "Type": "tcp"}, {"PrivatePort": 53, "Type": "udp"}],
		"HostConfig": {"NetworkMode": "default"},
		"NetworkSettings": {"Networks": {"bridge": {"IPAddress": "` + ip + `", "GlobalIPv6Address": ""}, "none": null}}}`
	return strings.NewReplacer(with...).Replace(text)
}

// A listener has what a source reports.
type listener struct {
	t       *testing.T
	reports chan discovery.Report
	last    discovery.Report
}

// listen runs a source until the test is over.
func listen(t *testing.T, s discovery.Source) *listener {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &listener{t: t, reports: make(chan discovery.Report, 1000)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Run(ctx, func(r discovery.Report) { l.reports <- r })
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return l
}

// until waits for a report that is as it must be.
func (l *listener) until(what string, is func(discovery.Report) bool) discovery.Report {
	l.t.Helper()
	for end := time.After(patient); ; {
		select {
		case l.last = <-l.reports:
			if is(l.last) {
				return l.last
			}
		case <-end:
			l.t.Fatalf("not in %v: %s; the last report is %s", patient, what, show(l.last))
		}
	}
}

// untilFound waits for an answer with backends as show writes them.
func (l *listener) untilFound(want string) {
	l.t.Helper()
	l.until("an answer with "+want, func(r discovery.Report) bool { return r.Err == nil && show(r) == want })
}

// show writes an answer as "name=address ...", then what is wrong.
func show(r discovery.Report) string {
	if r.Err != nil {
		return "error " + r.Err.Error()
	}
	var words []string
	for _, f := range r.Found {
		words = append(words, f.Name+"="+f.Address.WithHost(f.Host))
	}
	for _, w := range r.Warnings {
		words = append(words, "!"+w)
	}
	return strings.Join(words, " ")
}

// appOf is the source of the pool app.
func appOf(s *stand) discovery.Source { return New(Config{Socket: s.socket, Pool: "app"}) }
