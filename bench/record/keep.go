package record

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Root is the folder of this module.
func Root(ctx context.Context) (string, error) {
	text, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find module: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// Build compiles a package of this module into the folder bin, under the last element of its path.
func Build(ctx context.Context, root, bin, from string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(bin, filepath.Base(from)), from)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as releases are built
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", from, err, said)
	}
	return nil
}

// Sluice returns the program to measure: the one that is given, else one that is built into the folder bin.
func Sluice(ctx context.Context, program, bin string) (string, error) {
	if program != "" {
		return program, nil
	}
	root, err := Root(ctx)
	if err != nil {
		return "", err
	}
	return filepath.Join(bin, "sluice"), Build(ctx, root, bin, "./cmd/sluice")
}

// Keep writes a result to its file and returns the file's name. The folder, unless it is absolute, is one of the module's.
func Keep(root, dir, name, text string) (string, error) {
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(root, dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("keep result: %w", err)
	}
	name = filepath.Join(dir, name+".md")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		return "", fmt.Errorf("keep result: %w", err)
	}
	return name, nil
}
