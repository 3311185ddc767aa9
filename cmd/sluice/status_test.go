package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// newerStatus is an answer with fields and words that this sluice does not have.
const newerStatus = `{
	"version": "v99", "go": "go9", "uptime_seconds": 1, "moon": {"phase": "full"}, "loops": [{"sessions": 0}],
	"listeners": [{"name": "web", "addresses": ["127.0.0.1:80"], "protocol": "gopher", "pools": ["shop"]}],
	"pools": [{"name": "shop", "balance": "by_mood", "backends": [
		{"name": "a", "address": "vsock:3:80", "state": "asleep", "up": true, "connect_failures": {"refused": 1, "bored": 2},
		"connect_obstacles": {"rain": 1}, "check": {"since": "2026-01-02T03:04:05Z", "took_seconds": 0, "role": "witness"}}]}],
	"ended": [{"listener": "web", "pool": "shop", "reason": "lost_interest", "count": 7}]
}`

// TestStatusOfANewerSluice: during an upgrade the command may be older than what it asks. It shows words as they came.
func TestStatusOfANewerSluice(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	newer := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, newerStatus)
	}))
	_ = newer.Listener.Close()
	newer.Listener = l
	newer.Start()
	defer newer.Close()

	ask := func(args ...string) string {
		t.Helper()
		var out strings.Builder
		c := newStatusCommand()
		c.SetOut(&out)
		c.SetArgs(append(args, "--socket", socket))
		if err := c.Execute(); err != nil {
			t.Fatalf("status %v: %v", args, err)
		}
		return out.String()
	}
	table := ask()
	for _, want := range []string{
		`(?m)^web +127\.0\.0\.1:80 +shop `,
		`(?m)^shop +a +vsock:3:80 +asleep +witness +0 +0 +0 +3 `,
		`(?m)^lost_interest +web +shop +7$`,
	} {
		if !regexp.MustCompile(want).MatchString(table) {
			t.Errorf("no %s in\n%s", want, table)
		}
	}
	if got := ask("--json"); got != newerStatus {
		t.Errorf("with --json the answer became\n%s", got)
	}
}
