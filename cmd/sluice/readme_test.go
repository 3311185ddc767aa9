package main

import (
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sluice/configs"
	"sluice/pool"
)

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// Every configuration in the README is one that a world can be made of as it stands. Nothing is started: the addresses
// in it are other people's.
func TestReadmeConfigurations(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := yamlBlock.FindAllSubmatch(readme, -1)
	if len(blocks) < 5 {
		t.Fatalf("%d configurations found: the README has more, so they are not found any more", len(blocks))
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"pg.password": "secret\n", "deny.txt": "203.0.113.0/24 # a comment\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, block := range blocks {
		text := strings.ReplaceAll(string(block[1]), "/etc/sluice", dir)
		file, err := configs.Parse("README.md", []byte(text))
		if err != nil {
			t.Errorf("%v\nin\n%s", err, text)
			continue
		}
		makeWorld(t, file)
	}
}

// makeWorld makes a world on free ports and gives it up again.
func makeWorld(t *testing.T, file *configs.File) {
	t.Helper()
	file.Admin = configs.Admin{}
	for i := range file.Listeners {
		file.Listeners[i].Bind = []pool.Address{{TCP: netip.MustParseAddrPort("127.0.0.1:0")}}
	}
	log := slog.New(slog.DiscardHandler)
	out := openLogWriter(io.Discard, log)
	defer out.close()
	w, err := newWorld(file, log, out, bindAdvice{})
	if err != nil {
		t.Error(err)
		return
	}
	w.release()
}
