package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/pool/discovery"
)

// TestLogLeftOut: of thousands of backends that cannot be one some are logged, and each once.
func TestLogLeftOut(t *testing.T) {
	var all []discovery.Problem
	for i := range 20000 {
		all = append(all, discovery.Problem{Source: "dns app:80", Backend: fmt.Sprintf("10.0.%d.%d:80", i/256, i%256), Problem: "no"})
	}
	var text bytes.Buffer
	w := &world{log: slog.New(slog.NewTextHandler(&text, nil))}
	w.logLeftOut("p", nil, all)
	if got := strings.Count(text.String(), "\n"); got != leftOutLines+1 || !strings.Contains(text.String(), "backends=19980") {
		t.Errorf("%d lines, want %d:\n%s", got, leftOutLines+1, text.String())
	}
	text.Reset()
	w.logLeftOut("p", all, append(all[1:], discovery.Problem{Source: "file", Backend: "10.0.0.1:80", Problem: "no"}))
	if got := text.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "source=file") {
		t.Errorf("one more is logged as\n%s", got)
	}
}

// TestAddedAndFound: what an operator has added is there, also when the sources do not have it any more that had it too.
func TestAddedAndFound(t *testing.T) {
	r, s := newFound(t, "", "")
	if _, err := r.AddBackend(t.Context(), "p", admin.NewBackend{Address: "10.0.1.1:80"}, admin.By{User: "test"}); err != nil {
		t.Fatal(err)
	}
	s.answers("dns app:80", "10.0.1.1:80", "10.0.1.2:80")
	r.until("found", "10.0.9.1:80 10.0.9.2:80 10.0.1.1:80,w3 10.0.1.2:80,w3")
	s.answers("dns app:80", "10.0.1.3:80")
	r.until("gone", "10.0.9.1:80 10.0.9.2:80 10.0.1.1:80,w3 10.0.1.2:80,w3,vanished 10.0.1.3:80,w3")
	r.applyFound(time.Now().Add(time.Hour))
	r.until("its time is over", "10.0.9.1:80 10.0.9.2:80 10.0.1.3:80,w3 10.0.1.1:80")
}
