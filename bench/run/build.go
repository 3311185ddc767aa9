package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// build compiles the programs of this module that are to be measured, and
// returns the module's folder.
func build(ctx context.Context, bin string, systems []system) (root string, err error) {
	text, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find module: %w", err)
	}
	root = strings.TrimSpace(string(text))
	packages := map[string]string{sluice: "./cmd/sluice", ioCopy: "./bench/iocopy"}
	for _, s := range systems {
		from, ours := packages[s.rival]
		if !ours {
			continue
		}
		cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(bin, filepath.Base(from)), from)
		cmd.Dir = root
		if said, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", from, err, said)
		}
	}
	return root, nil
}
