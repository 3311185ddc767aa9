package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// accessConfig refuses clients by lists, of which one is in a file beside the configuration's folder.
const accessConfig = `
listeners:
  here:
    bind: "127.0.0.1:0"
    pool: echo
    allow: [127.0.0.0/28, 127.1.0.0/16]
    deny: [127.0.0.9, {file: "DENY"}]
  told:
    bind: "127.0.0.1:0"
    pool: echo
    accept_proxy: {from: [127.0.0.1], timeout: 30s}
    allow: {file: "ALLOW"}
    deny: [2001:db8:bad::/48, 192.0.2.66, {file: "DENY"}]
pools:
  echo:
    check: {type: off}
    backends: [{name: echo, address: "ADDRESS"}]
`

// An accessRig is a sluice in front of a server, with lists in files.
type accessRig struct {
	*rig
	echo        *countedEcho
	allow, deny string // paths
	here, told  string // addresses of the listeners
}

func startAccess(t *testing.T) *accessRig {
	t.Helper()
	dir := tempDir(t)
	a := &accessRig{
		echo:  startCountedEcho(t),
		allow: filepath.Join(dir, "allow.txt"), deny: filepath.Join(dir, "deny.txt"),
	}
	writeFile(t, a.allow, "192.0.2.0/24 # the office\n\n# and the rest\n2001:db8::/32\n127.0.0.1\n")
	writeFile(t, a.deny, "127.0.0.8\n127.1.2.0/24\n")
	relative := filepath.Join("..", filepath.Base(dir), "deny.txt") // the configuration's folder is beside this one
	a.rig = startSluice(t, strings.NewReplacer("ALLOW", a.allow, "DENY", relative,
		"ADDRESS", a.echo.address()).Replace(accessConfig))
	a.here, a.told = a.address("here"), a.address("told")
	return a
}

// A client that is not allowed, or that is denied, is reset before a server hears of it, and nothing is left of it.
func TestLimitsAccess(t *testing.T) {
	t.Parallel()
	r := startAccess(t)
	address := r.here
	denied := 0
	for _, source := range []string{"127.0.0.9", "127.0.0.8", "127.1.2.3", "127.0.0.16", "127.2.0.1"} {
		for _, word := range []string{"", "GET / HTTP/1.0\r\n\r\n"} {
			expectReset(t, source, address, word)
			denied++
		}
	}
	expectResetAll(t, 50, "127.0.0.9", address)
	r.expectRefusals("here", "denied", uint64(denied+50))
	for _, source := range []string{"127.0.0.1", "127.0.0.15", "127.1.0.1", "127.1.3.1"} {
		served(t, source, address, "").Close()
	}
	r.checkCounters()
	if n := r.echo.accepts.Load(); n != 4 {
		t.Errorf("the server had %d connections, want those of 4 clients", n)
	}
	if n := timeWaits(t, address); n != 0 {
		t.Errorf("%d connections of sluice's port are in TIME_WAIT", n)
	}
	for _, s := range r.sessions() {
		if s.Reason == "denied" && (s.Pool != "" || s.Backend != "" || netip.MustParseAddrPort(s.Client).Port() == 0) {
			t.Errorf("a client that was denied is logged with %+v", s)
		}
	}
}

func expectResetAll(t *testing.T, n int, source, address string) {
	t.Helper()
	for range n {
		expectReset(t, source, address, "")
	}
}

// header is the PROXY header of a client.
func header(client string) string {
	if strings.Contains(client, ":") {
		return fmt.Sprintf("PROXY TCP6 %s 2001:db8::ff 40000 443\r\n", client)
	}
	return fmt.Sprintf("PROXY TCP4 %s 192.0.2.255 40000 443\r\n", client)
}

// Behind another balancer, it is the client of which that one tells that counts, not the balancer.
func TestLimitsAccessBehind(t *testing.T) {
	t.Parallel()
	r := startAccess(t)
	address := r.told
	for _, client := range []string{
		"192.0.2.66", "2001:db8:bad::1", "2001:db8:bad:1::", "198.51.100.1", "::1", "127.0.0.2",
	} {
		expectReset(t, "127.0.0.1", address, header(client))
		expectReset(t, "127.0.0.1", address, header(client)+"GET / HTTP/1.0\r\n\r\n")
	}
	for _, client := range []string{"192.0.2.65", "2001:db8:bac::1", "::ffff:192.0.2.7"} {
		served(t, "127.0.0.1", address, header(client)).Close()
	}
	served(t, "127.0.0.1", address, "PROXY UNKNOWN\r\n").Close() // the balancer's own
	r.expectRefusals("told", "denied", 12)
	// Who may not send a header is not asked who it is.
	expectReset(t, "127.0.0.2", address, header("192.0.2.65"))
	r.expectRefusals("told", "header_untrusted", 1)
	if n := r.echo.accepts.Load(); n != 4 {
		t.Errorf("the server had %d connections, want those of 4 clients", n)
	}
	if n := timeWaits(t, address); n != 0 {
		t.Errorf("%d connections of sluice's port are in TIME_WAIT", n)
	}
}

// reload writes a file and tells sluice to read it again.
func (r *accessRig) reload(file, text string) {
	r.t.Helper()
	writeFile(r.t, file, text)
	r.signal(syscall.SIGHUP)
}

// expect checks who may come in from which addresses of this machine.
func (r *accessRig) expect(permitted map[string]bool) {
	r.t.Helper()
	for source, in := range permitted {
		if in {
			served(r.t, source, r.here, "").Close()
		} else {
			expectReset(r.t, source, r.here, "")
		}
	}
}

// SIGHUP makes sluice read the files again. What the configuration itself says stays, and so do sessions.
func TestLimitsReload(t *testing.T) {
	t.Parallel()
	r := startAccess(t)
	r.expect(map[string]bool{"127.0.0.7": true, "127.0.0.8": false, "127.1.2.3": false, "127.0.0.9": false})
	old := []net.Conn{served(t, "127.0.0.7", r.here, ""), served(t, "127.0.0.1", r.told, header("192.0.2.5"))}

	r.reload(r.deny, "127.0.0.7\n")
	r.untilReset("127.0.0.7", r.here, "")
	r.expect(map[string]bool{"127.0.0.7": false, "127.0.0.8": true, "127.1.2.3": true, "127.0.0.9": false})
	served(t, "127.0.0.1", r.told, header("192.0.2.5")).Close()

	r.reload(r.allow, "198.51.100.1\n")
	r.untilReset("127.0.0.1", r.told, header("192.0.2.5"))
	served(t, "127.0.0.1", r.told, header("198.51.100.1")).Close()
	r.expect(map[string]bool{"127.0.0.7": false, "127.0.0.8": true})
	for _, c := range old {
		expectEcho(t, c)
		c.Close()
	}
}

// A file that is wrong is said to be, and where. Nothing of that reload is in force then, for no listener.
func TestLimitsReloadBroken(t *testing.T) {
	t.Parallel()
	r := startAccess(t)
	r.mayLog = "reload"
	f := func(words ...string) {
		t.Helper()
		r.untilLogged(append(words, `"level":"ERROR"`)...)
		for _, client := range []string{"192.0.2.5", "2001:db8::1"} {
			served(t, "127.0.0.1", r.told, header(client)).Close()
		}
		expectReset(t, "127.0.0.1", r.told, header("198.51.100.1"))
	}
	r.reload(r.deny, "127.0.0.7\n127.0.0.300\n")
	f("deny.txt:2", "127.0.0.300")
	r.expect(map[string]bool{"127.0.0.7": true, "127.0.0.8": false, "127.1.2.3": false})
	r.expectReloaded(false)
	writeFile(t, r.deny, "127.0.0.7\n192.0.2.5\n")
	r.reload(r.allow, "198.51.100.1\n\nhome\n")
	f("allow.txt:3", "home")
	r.expect(map[string]bool{"127.0.0.7": true, "127.0.0.8": false, "127.1.2.3": false}) // also where all is right
	r.reload(r.allow, "# nobody\n")                                                      // taken at its word, it would be everybody
	f("allow.txt", "would mean everybody")
	if err := os.Remove(r.allow); err != nil {
		t.Fatal(err)
	}
	r.signal(syscall.SIGHUP)
	f("allow.txt", "no such file")
	r.expectReloaded(false)

	r.reload(r.allow, "198.51.100.1\n192.0.2.0/24\n")
	for _, client := range []string{"192.0.2.5", "2001:db8::1"} {
		r.untilReset("127.0.0.1", r.told, header(client))
	}
	served(t, "127.0.0.1", r.told, header("192.0.2.6")).Close()
	r.expectReloaded(true)
}

// expectReloaded waits until the metrics say whether the files that were read last are in force.
func (r *rig) expectReloaded(well bool) {
	r.t.Helper()
	want := 0.0
	if well {
		want = 1
	}
	until(r.t, "the metrics tell of the reload", func() error {
		if got := r.metrics()["sluice_config_last_reload_success"]; got != want {
			return fmt.Errorf("they say %v", got)
		}
		return nil
	})
}

// untilReset waits until a client is reset. While it is not, it is served.
func (r *rig) untilReset(source, address, word string) {
	r.t.Helper()
	until(r.t, fmt.Sprintf("%s, which says %q, is refused", source, word), func() error {
		c, err := tryDial(source, address, word)
		if err == nil {
			defer c.Close()
			if err = echo(c, "hello"); err == nil {
				return errors.New("it is served")
			}
		}
		if !isReset(err) {
			return err
		}
		return nil
	})
}
