package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNoRun: a machine without /run has no default control socket, which is no reason not to serve.
func TestNoRun(t *testing.T) {
	err := os.Mkdir(filepath.Join(t.TempDir(), "run", "sluice"), 0o755)
	if !denied(err) {
		t.Errorf("%v would end the program", err)
	}
	if err := os.WriteFile(filepath.Join(t.TempDir(), strings.Repeat("x", 300)), nil, 0o600); denied(err) {
		t.Errorf("%v is taken for a missing permission", err)
	}
}
