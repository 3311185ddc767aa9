package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/pool/discovery"
)

// get asks the control socket.
func (r *applyRig) get(path string) (status int, body string) {
	r.Helper()
	c := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(r.dir, "control"))
		},
	}}
	answer, err := c.Get("http://sluice" + path)
	if err != nil {
		r.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		r.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// wantLines checks that a text has lines that begin so.
func (r *applyRig) wantLines(text string, want ...string) {
	r.Helper()
	for _, line := range want {
		if !strings.Contains("\n"+text, "\n"+line) {
			r.Errorf("no line %s in\n%s", line, text)
		}
	}
}

// TestFoundReady: who asks whether sluice is ready is told which sources have never answered; what has one that serves is
// ready whatever the others say.
func TestFoundReady(t *testing.T) {
	r, s := newFound(t, `backends: ["10.0.9.1:80", "db:80", "10.0.9.2:80"]`, "")
	s.source("dns app:80").say(discovery.Report{Err: errors.New("SERVFAIL")})
	s.source("file " + filepath.Join(r.dir, "list")).say(discovery.Report{Reason: "it is empty"})
	wait := func(path string, status int, want ...string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			got, body := r.get(path)
			if got == status && body == strings.Join(want, "\n")+"\n" {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d %s, want %q", path, got, body, want)
			}
		}
	}
	wait("/readyz", 503, `pool "p": dns app:80 has not answered yet: SERVFAIL`, `pool "p": file `+r.dir+`/list has no backends: it is empty`)
	wait("/readyz?pool=other", 503, `pool "other": dns app:81 has not answered yet`)
	s.answers("dns app:80", "10.0.1.1:80")
	wait("/readyz", 200, "ready")
	s.source("dns app:80").say(discovery.Report{Err: errors.New("SERVFAIL")})
	wait("/readyz", 200, "ready")
}

// TestFoundStatus: the status and the metrics say of each source how it stands, and of each backend where it is from.
func TestFoundStatus(t *testing.T) {
	r, s := newFound(t, "", "")
	own := r.now.Load().force.Listeners[1].Bind[0].String()
	s.source("dns db:80").say(discovery.Report{
		Found: []discovery.Found{foundAt("10.0.0.1:80")}, Warnings: []string{"container a: no port", "container b: no network"},
	})
	s.answers("dns app:80", "10.0.1.1:80", "10.0.1.2:80", own)
	r.until("found", "10.0.9.1:80 10.0.0.1:80 10.0.9.2:80 10.0.1.1:80,w3 10.0.1.2:80,w3")
	s.answers("dns app:80", "10.0.1.2:80", own)
	r.until("one is gone", "10.0.9.1:80 10.0.0.1:80 10.0.9.2:80 10.0.1.1:80,w3,vanished 10.0.1.2:80,w3")
	s.source("dns app:80").say(discovery.Report{Err: errors.New("SERVFAIL")})

	var out bytes.Buffer
	if err := printStatus(&out, r.admin.Status()); err != nil {
		t.Fatal(err)
	}
	fields := func(line string) string { return strings.Join(strings.Fields(line), " ") }
	var lines []string
	for line := range strings.Lines(out.String()) {
		lines = append(lines, fields(line))
	}
	r.wantLines(strings.Join(lines, "\n"),
		"p 10.0.9.1:80 10.0.9.1:80 up - 0 1 0 0 0 B 0 B - -", "p 10.0.0.1:80 10.0.0.1:80 up - 0 1 0 0 0 B 0 B dns db:80 -",
		"p 10.0.1.1:80 10.0.1.1:80 vanished - 0 3 0 0 0 B 0 B dns app:80 -", "p 10.0.1.2:80 10.0.1.2:80 up ",
		"dns app:80 p 2 ", "dns app:81 other 0 never 0 -", "dns db:80 p 1 ", "file "+r.dir+"/list p 0 never 0 -",
		"pool p: "+own+" of dns app:80 is left out: ",
		"dns db:80:\ncontainer a: no port\ncontainer b: no network\n",
	)
	if !strings.Contains(strings.Join(lines, "\n"), " ago 1 SERVFAIL") {
		t.Errorf("what is wrong with a source is not shown:\n%s", out.String())
	}
	_, body := r.get("/metrics")
	r.wantLines(body,
		`sluice_discovery_up{source="dns app:80"} 0`, `sluice_discovery_up{source="dns db:80"} 1`, `sluice_discovery_up{source="dns app:81"} 0`,
		`sluice_discovery_backends{source="dns app:80"} 2`, `sluice_discovery_answers_total{source="dns app:80"} 2`,
		`sluice_discovery_failures_total{source="dns app:80"} 1`, `sluice_discovery_age_seconds{source="dns app:80"} 0.`,
		`sluice_backend_state{pool="p",backend="10.0.1.1:80",state="vanished"} 1`,
	)
	if strings.Contains(body, `sluice_discovery_age_seconds{source="dns app:81"}`) {
		t.Error("a source that never answered has an age")
	}
	_, body = r.get("/api/v1/pools/p/backends/10.0.1.1:80")
	for _, want := range []string{`"source": "dns app:80"`, `"vanished": true`, `"removed_at": "`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
	if _, body = r.get("/api/v1/pools/p/backends/10.0.0.1:80"); !strings.Contains(body, `"entry": "db:80"`) {
		t.Errorf("no entry in %s", body)
	}
}

// TestFoundSourceColumn: of a backend it is said where it is from, not how that is asked.
func TestFoundSourceColumn(t *testing.T) {
	b := admin.BackendStatus{Source: "dns app:80 resolver=10.0.0.53:53 min_ttl=2s"}
	b.Name = "10.0.1.1:80"
	docker := admin.BackendStatus{Source: "docker unix:/run/docker.sock pool=app network=front"}
	docker.Name = "web"
	var out strings.Builder
	backendTable([]admin.PoolStatus{{Backends: []admin.BackendStatus{b, docker}}}).print(&out)
	for _, want := range []string{"  dns app:80  ", "  docker unix:/run/docker.sock pool=app  "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "min_ttl") || strings.Contains(out.String(), "network") {
		t.Errorf("how sources are asked is in\n%s", out.String())
	}
}

// TestFoundNone: what is said of a source that has no backends is what becomes of those of before.
func TestFoundNone(t *testing.T) {
	r, s := newFound(t, "", "")
	s.answers("dns app:80", "10.0.1.1:80", "10.0.1.2:80")
	r.until("found", "10.0.9.1:80 10.0.9.2:80 10.0.1.1:80,w3 10.0.1.2:80,w3")
	s.source("dns app:80").say(discovery.Report{Reason: "no such name"})
	s.answers("dns app:81")
	status := r.admin.Status()
	status.Sources = append(status.Sources, admin.SourceStatus{Status: discovery.Status{Source: "docker labels", Generation: 1}})
	var out bytes.Buffer
	if err := printStatus(&out, status); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^dns app:80 .* it says that there are none: no such name: the 2 of before are kept \(on_empty\)$`,
		`(?m)^dns app:81 .* it says that there are none$`,
		`(?m)^docker labels +- +- +never +0 +-$`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
	r.until("kept", "10.0.9.1:80 10.0.9.2:80 10.0.1.1:80,w3 10.0.1.2:80,w3")
	if _, body := r.get("/metrics"); !strings.Contains(body, `sluice_discovery_backends{source="dns app:80"} 0`) {
		t.Errorf("what the source has said last is not in\n%s", body)
	}
}
