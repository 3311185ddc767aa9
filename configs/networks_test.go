package configs

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// networksOf returns the networks of a list with blanks.
func networksOf(text string) (networks []netip.Prefix) {
	for _, field := range strings.Fields(text) {
		networks = append(networks, netip.MustParsePrefix(field))
	}
	return networks
}

func TestParseNetworks(t *testing.T) {
	f := func(data, want string) {
		t.Helper()
		got, errs := parseNetworks("list", []byte(data))
		if len(errs) > 0 || !slices.Equal(got, networksOf(want)) {
			t.Errorf("%q: %v, %v, want %v", data, got, errs, want)
		}
	}
	f("", "")
	f("\n \n\t\r\n# nothing\n  # here\n", "")
	f("10.0.0.0/8", "10.0.0.0/8")
	f("10.0.0.0/8\n192.0.2.7\n2001:db8::/32\n2001:db8::1\n", "10.0.0.0/8 192.0.2.7/32 2001:db8::/32 2001:db8::1/128")
	f("  10.0.0.0/8\t# the office\r\n::1#here\r\n", "10.0.0.0/8 ::1/128")
	f("10.0.0.0/8\r192.0.2.7\r", "10.0.0.0/8 192.0.2.7/32")
	f("0.0.0.0/0\n::/0\n", "0.0.0.0/0 ::/0")
	f("10.0.0.0/8\n10.0.0.0/8\n", "10.0.0.0/8 10.0.0.0/8")
	f("::ffff:10.0.0.1\n::ffff:10.0.0.0/104", "10.0.0.1/32 10.0.0.0/8")
	f("::ffff:0:0/96\n::/0", "0.0.0.0/0 ::/0")
	f("\ufeff10.0.0.0/8\n", "10.0.0.0/8")
}

func TestParseNetworksProblems(t *testing.T) {
	f := func(data string, want ...string) {
		t.Helper()
		got, errs := parseNetworks("dir/list", []byte(data))
		if text := fmt.Sprint(errors.Join(errs...)); text != strings.Join(want, "\n") {
			t.Errorf("%q: error\n%v\nwant\n%s", data, text, strings.Join(want, "\n"))
		}
		if got != nil {
			t.Errorf("%q: %v beside an error", data, got)
		}
	}
	wrong := func(line int, text string) string {
		const message = "dir/list:%d: %s is not a network: write ADDRESS/BITS, for example 10.0.0.0/8"
		return fmt.Sprintf(message, line, text)
	}
	many := func(line int, text string) string {
		const message = "dir/list:%d: %s is more than a network: write one on each line, and # before a comment"
		return fmt.Sprintf(message, line, text)
	}
	f("shop.example.com", wrong(1, `"shop.example.com"`))
	f("10.0.0.0/8 10.0.0.0/9\n10.0.0.0/8,\n10.0.0.0/8 ; the office",
		many(1, `"10.0.0.0/8 10.0.0.0/9"`), many(2, `"10.0.0.0/8,"`), many(3, `"10.0.0.0/8 ; the office"`))
	f("10.0.0.1/8", `dir/list:1: "10.0.0.1/8" has bits set after the first 8: write 10.0.0.0/8`)
	f("2001:db8::1/32", `dir/list:1: "2001:db8::1/32" has bits set after the first 32: write 2001:db8::/32`)
	// All at once, each with its line.
	f("10.0.0.0/8\n10.0.0.0/33\n\n# fine\n1.2.3\n::1\n/8\n10.0.0.0/08",
		wrong(2, `"10.0.0.0/33"`), wrong(5, `"1.2.3"`), wrong(7, `"/8"`), wrong(8, `"10.0.0.0/08"`))
	f("fe80::1%eth0\n010.0.0.1", wrong(1, `"fe80::1%eth0"`), wrong(2, `"010.0.0.1"`))
	// What is shown of a line is safe to print, and short.
	f("\x1b[31m\x00\xff", wrong(1, `"\x1b[31m\x00\xff"`))
	f(strings.Repeat("x", 1000), wrong(1, `"`+strings.Repeat("x", 64)+`..."`))
	// A file that is something else does not fill the screen.
	var first []string
	for i := range maxNetworkProblems {
		first = append(first, wrong(i+1, `"x"`))
	}
	f(strings.Repeat("x\n", 1000), append(first, "dir/list: 980 more lines are wrong")...)
	f(strings.Repeat("::\n", maxNetworks+1), "dir/list:1048577: there are more than 1048576 networks")
}

// What the files of a listener hold is read when it is asked for, not when the configuration is.
func TestReadAccess(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("allow.txt", "192.0.2.0/24\n")
	write("deny.txt", "192.0.2.66\n::/0\n")
	const allow = "\n    allow: [10.0.0.0/8, {file: allow.txt}, 10.1.0.0/16]"
	deny := "\n    deny: {file: " + path("deny.txt") + "}"
	text := strings.Replace(minimalText, "pool: web", "pool: web"+allow+deny, 1)
	file, err := parse(path("good.yaml"), []byte(text), noLookup)
	if err != nil {
		t.Fatal(err)
	}
	l := &file.Listeners[0]
	f := func(wantAllow, wantDeny string) {
		t.Helper()
		allow, deny, err := l.ReadAccess()
		if err != nil || !slices.Equal(allow, networksOf(wantAllow)) || !slices.Equal(deny, networksOf(wantDeny)) {
			t.Errorf("allow %v, deny %v, error %v", allow, deny, err)
		}
	}
	fails := func(want string) {
		t.Helper()
		allow, deny, err := l.ReadAccess()
		if err == nil || err.Error() != want || allow != nil || deny != nil {
			t.Errorf("allow %v, deny %v, error %v, want %s", allow, deny, err, want)
		}
	}
	f("10.0.0.0/8 10.1.0.0/16 192.0.2.0/24", "192.0.2.66/32 ::/0")
	write("allow.txt", "")
	write("deny.txt", "")
	f("10.0.0.0/8 10.1.0.0/16", "")
	write("deny.txt", "192.0.2.66\nx\n")
	fails(path("deny.txt") + `:2: "x" is not a network: write ADDRESS/BITS, for example 10.0.0.0/8`)
	write("deny.txt", strings.Repeat("#", maxNetworksFile))
	f("10.0.0.0/8 10.1.0.0/16", "")
	write("deny.txt", strings.Repeat("#", maxNetworksFile+1))
	fails(fmt.Sprintf("%q is larger than 16 MiB", path("deny.txt")))
	l.Deny, l.Allow.List = Networks{}, nil
	fails(fmt.Sprintf("allow: no network in %q, which would mean everybody: write one into it, or remove allow",
		path("allow.txt")))
	if err := os.Remove(path("allow.txt")); err != nil {
		t.Fatal(err)
	}
	fails(fmt.Sprintf("read %q: no such file or directory", path("allow.txt")))
	l.Allow = Networks{}
	f("", "")
}

// FuzzNetworks checks of any file that reading it does not panic, gives networks or problems but not both, and names
// lines that exist; and that the networks are those of the lines, so that written out they read the same.
func FuzzNetworks(f *testing.F) {
	f.Add([]byte("10.0.0.0/8\n192.0.2.7 # one\r\n\n2001:db8::/32\n::ffff:10.0.0.0/104"))
	f.Add([]byte("10.0.0.1/8\nx\n::1%lo\n\xff\n0.0.0.0/0"))
	f.Add([]byte("\ufeff::/0\n#\n1.2.3.4 5.6.7.8\r::ffff:1.2.3.4\n"))
	f.Add([]byte(strings.Repeat("1\n", 30)))
	f.Fuzz(func(t *testing.T, data []byte) {
		networks, errs := parseNetworks("list", data)
		if len(errs) > 0 {
			checkNetworkProblems(t, data, networks, errs)
			return
		}
		var written bytes.Buffer
		for _, p := range networks {
			if !p.IsValid() || p != p.Masked() {
				t.Fatalf("network %v of %q", p, data)
			}
			fmt.Fprintln(&written, p)
		}
		again, errs := parseNetworks("list", written.Bytes())
		if len(errs) > 0 || !slices.Equal(again, networks) {
			t.Fatalf("%q reads %v, %v; before %v", written.Bytes(), again, errs, networks)
		}
	})
}

func checkNetworkProblems(t *testing.T, data []byte, networks []netip.Prefix, errs []error) {
	t.Helper()
	if networks != nil {
		t.Fatalf("%v beside %v", networks, errs)
	}
	last := 0
	for _, err := range errs {
		problem := err.Error()
		if strings.ContainsFunc(problem, func(r rune) bool { return r < ' ' }) {
			t.Fatalf("problem is not one line of text: %q", problem)
		}
		if strings.HasPrefix(problem, "list: ") {
			continue // of the file as a whole
		}
		var line int
		if _, err := fmt.Sscanf(problem, "list:%d: ", &line); err != nil {
			t.Fatalf("problem %q", problem)
		}
		if line <= last || line > strings.Count(text(data), "\n")+1 {
			t.Fatalf("problem %q after line %d", problem, last)
		}
		last = line
	}
}
