package configs

import (
	"context"
	"errors"
	"flag"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the expected messages of testdata/bad anew; read the difference")

// testNames are the host names that exist in tests. Others do not.
var testNames = map[string][]netip.Addr{
	"db.example":    {netip.MustParseAddr("2001:db8::5"), netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.0.0.6")},
	"six.example":   {netip.MustParseAddr("2001:db8::6"), netip.MustParseAddr("2001:db8::7")},
	"seven.example": {netip.MustParseAddr("10.0.0.7")},
	"empty.example": {},
}

func testLookup(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if _, ok := ctx.Deadline(); !ok || network != "ip" {
		return nil, errors.New("looked up without a deadline, or not as ip")
	}
	if host == "slow.example" {
		return nil, context.DeadlineExceeded
	}
	if addrs, ok := testNames[host]; ok {
		return addrs, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, Server: "192.0.2.53:53", IsNotFound: true}
}

// noLookup is for files without names.
func noLookup(context.Context, string, string) ([]netip.Addr, error) {
	return nil, errors.New("no name may be looked up here")
}

// TestBadFiles holds the whole error of each file in testdata/bad against the file beside it that ends in .want.
func TestBadFiles(t *testing.T) {
	paths, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(paths) < 45 {
		t.Fatalf("found %d files, error %v", len(paths), err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		t.Run(name, func(t *testing.T) {
			data := read(t, path)
			file, err := parse(name+".yaml", data, testLookup)
			if err == nil || file != nil {
				t.Fatalf("it loads, want problems")
			}
			golden := strings.TrimSuffix(path, ".yaml") + ".want"
			if *update {
				if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got, want := err.Error()+"\n", string(read(t, golden)); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			checkPositions(t, data, err)
		})
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
