package file

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"sluice/pool"
	"sluice/pool/discovery"
)

// parseLines takes an address on each line. Nothing at all is no list; "none" is an empty one.
func parseLines(path string, data []byte) ([]discovery.Found, error) {
	found := []discovery.Found{}
	text := strings.TrimSpace(string(data))
	if text == "none" {
		return found, nil
	}
	for line := range strings.SplitSeq(text, "\n") {
		var a pool.Address
		if a.UnmarshalText([]byte(line)) != nil {
			return nil, errors.New(path + ": not an address: " + line)
		}
		found = append(found, discovery.Found{Address: a})
	}
	return found, nil
}

// A running is a source and what it reports.
type running struct {
	t       *testing.T
	reports chan discovery.Report
}

// run runs the source of a file until the test ends.
func run(t *testing.T, path string) *running {
	t.Helper()
	return runBy(t, &source{Config: Config{Path: path}, parse: parseLines, pauses: never, begin: fsnotify.NewWatcher})
}

// never is longer than any test: what is found out then the kernel has told.
var never = pauses{safety: time.Hour, blind: time.Hour}

func runBy(t *testing.T, s *source) *running {
	t.Helper()
	r := &running{t: t, reports: make(chan discovery.Report, 100)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Run(ctx, func(report discovery.Report) { r.reports <- report })
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return r
}

func (r *running) next() discovery.Report {
	r.t.Helper()
	select {
	case report := <-r.reports:
		if report.Err != nil && report.Found != nil {
			r.t.Errorf("an answer and an error: %+v", report)
		}
		return report
	case <-time.After(time.Minute):
		r.t.Fatal("no report within a minute")
		panic("unreachable")
	}
}

// finds takes the next report, which has to be an answer with these addresses.
func (r *running) finds(addresses ...string) {
	r.t.Helper()
	report := r.next()
	if got := addressesOf(report); report.Err != nil || report.Found == nil || !slices.Equal(got, addresses) {
		r.t.Fatalf("found %v, error %v, want %v", got, report.Err, addresses)
	}
}

// comesTo takes reports until there is one with these addresses. Until then there may be errors and beginnings of the list.
func (r *running) comesTo(addresses ...string) {
	r.t.Helper()
	for {
		report := r.next()
		got := addressesOf(report)
		if report.Err != nil {
			continue
		}
		if slices.Equal(got, addresses) {
			return
		}
		if len(got) == 0 || len(got) > len(addresses) || !slices.Equal(got, addresses[:len(got)]) {
			r.t.Fatalf("found %v on the way to %v", got, addresses)
		}
	}
}

// fails takes the next report, which has to be this error.
func (r *running) fails(want string) {
	r.t.Helper()
	if report := r.next(); report.Err == nil || report.Err.Error() != want {
		r.t.Fatalf("found %v, error %v, want %s", addressesOf(report), report.Err, want)
	}
}

// comesToFail takes reports until there is one with this error.
func (r *running) comesToFail(want string) {
	r.t.Helper()
	for {
		if report := r.next(); report.Err != nil && report.Err.Error() == want {
			return
		}
	}
}

func addressesOf(report discovery.Report) (addresses []string) {
	for _, f := range report.Found {
		addresses = append(addresses, f.Address.String())
	}
	return addresses
}

// write writes a file in place.
func write(t *testing.T, path string, lines ...string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644))
}

// replace writes a file beside its place and renames it into it, as editors and programs do that mean well.
func replace(t *testing.T, path string, lines ...string) {
	t.Helper()
	beside := filepath.Join(filepath.Dir(path), ".new")
	write(t, beside, lines...)
	must(t, os.Rename(beside, path))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
