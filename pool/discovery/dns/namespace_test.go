package dns

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sluice/pool/discovery"
	"sluice/pool/discovery/dns/dnstest"
	"sluice/sysutil/systest"
)

// inNamespace is set in the process that has a network and files of its own.
const inNamespace = "SLUICE_TEST_DNS_FILES"

// TestFilesOfTheSystem: a source without resolvers goes by the resolv.conf and the hosts file of the machine it is on, here
// one that has nothing but two servers on port 53. Both files change while it runs.
func TestFilesOfTheSystem(t *testing.T) {
	if os.Getenv(inNamespace) != "" {
		changeFiles(t)
		return
	}
	dir := t.TempDir()
	at(t, filepath.Join(dir, "resolv.conf"), "nameserver 127.0.0.1\nsearch one.internal\n")
	at(t, filepath.Join(dir, "hosts"), "")
	args := []string{"--net", "--mount"}
	if os.Getuid() != 0 {
		args = append(args, "--map-root-user")
	}
	script := `ip link set lo up && mount --bind "$1/resolv.conf" /etc/resolv.conf && mount --bind "$1/hosts" /etc/hosts && exec "$2" -test.run "^$3\$" -test.v`
	cmd := exec.Command("unshare", append(args, "sh", "-c", script, "sh", dir, os.Args[0], t.Name())...)
	cmd.Env = append(os.Environ(), inNamespace+"=yes", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("%v\n%s", err, out)
	}
}

func changeFiles(t *testing.T) {
	for address, name := range map[string]string{"127.0.0.1": "one", "::1": "two"} {
		dnstest.NewDnsmasq(t, netip.AddrPortFrom(netip.MustParseAddr(address), 53)).Serve(fmt.Sprintf("10.0.0.%d app.%s.internal\n", len(address), name))
	}
	source := New(DefaultConfig("app", 80))
	until := func(want string) {
		t.Helper()
		var found []discovery.Found
		var err error
		if !systest.Wait(patience, func() bool {
			found, err = source.Ask(t.Context())
			return text(&answer{found: found}, err) == want
		}) {
			t.Fatalf("found %s, want %s", text(&answer{found: found}, err), want)
		}
	}
	until("10.0.0.9:80")
	at(t, "/etc/hosts", "10.1.0.1 app\n")
	until("10.1.0.1:80")
	at(t, "/etc/hosts", "10.1.0.1 other\n")
	until("10.0.0.9:80")
	at(t, "/etc/resolv.conf", "search two.internal\nnameserver ::1\n")
	until("10.0.0.3:80")
	at(t, "/etc/resolv.conf", "search one.internal two.internal\nnameserver 127.0.0.9\nnameserver ::1\n")
	until("10.0.0.3:80")
}
