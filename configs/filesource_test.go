package configs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluice/pool/discovery"
	"sluice/pool/discovery/file"
)

// listOf10000 returns a list of ten thousand backends with everything that can be said of them.
func listOf10000(inJSON bool) []byte {
	format := "- {name: web-%d, address: 10.1.%d.%d:8080, weight: %d, max_conns: 100, backup: false, state: ready}\n"
	if inJSON {
		format = `{"name": "web-%d", "address": "10.1.%d.%d:8080", "weight": %d, "max_conns": 100, "backup": false, "state": "ready"},` + "\n"
	}
	var b strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&b, format, i, i/250, i%250+1, i%257)
	}
	if inJSON {
		return []byte("[" + strings.TrimSuffix(b.String(), ",\n") + "]")
	}
	return []byte(b.String())
}

// TestFileOfTenThousand runs the source of a real file with ten thousand backends: each time it is replaced they are read,
// and when it is broken the line is said.
func TestFileOfTenThousand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.yaml")
	put := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(path+".new", data, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	inYAML, inJSON := listOf10000(false), listOf10000(true)
	put(inYAML)
	ctx, cancel := context.WithCancel(context.Background())
	reports, ended := make(chan discovery.Report), make(chan struct{})
	began := time.Now()
	go func() {
		defer close(ended)
		file.New(file.Config{Path: path}, ParseBackends).Run(ctx, func(r discovery.Report) { reports <- r })
	}()
	defer func() {
		cancel()
		<-ended
	}()
	var lists [][]discovery.Found
	next := func(what string, count int, problem string) {
		t.Helper()
		select {
		case r := <-reports:
			if r.Err == nil && (len(r.Found) != count || problem != "") || r.Err != nil && r.Err.Error() != problem {
				t.Fatalf("%s: %d backends, error %v, want %d and %q", what, len(r.Found), r.Err, count, problem)
			}
			lists = append(lists, r.Found)
			t.Logf("%s: reported after %v", what, time.Since(began).Round(time.Millisecond))
		case <-time.After(2 * time.Minute):
			t.Fatalf("%s: no report after two minutes", what)
		}
	}
	next("YAML", 10_000, "")
	for _, step := range []struct {
		what    string
		data    []byte
		count   int
		problem string
	}{
		{"JSON", inJSON, 10_000, ""},
		{"JSON, one less", append(bytes.Clone(inJSON[:bytes.LastIndexByte(inJSON, '{')-2]), ']'), 9_999, ""},
		{"broken", []byte("- 10.0.0.1:80\n- 10.0.0.2"), 0, path + `:2:3: "10.0.0.2" has no port: write 10.0.0.2:PORT`},
		{"none", []byte("[]"), 0, ""},
	} {
		began = time.Now()
		put(step.data)
		next(step.what, step.count, step.problem)
	}
	if !reflect.DeepEqual(lists[0], lists[1]) {
		t.Error("the list in JSON is not that in YAML")
	}
	last := lists[0][9_999]
	if last.Name != "web-9999" || last.Address != tcp("10.1.39.250:8080") || *last.Weight != 9_999%257 || *last.MaxConns != 100 {
		t.Errorf("the last backend is %+v", last)
	}
}

func BenchmarkParseBackends(b *testing.B) {
	for name, inJSON := range map[string]bool{"yaml": false, "json": true} {
		data := listOf10000(inJSON)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := ParseBackends("app.yaml", data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
