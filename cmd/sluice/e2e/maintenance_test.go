package e2e

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sluice/sysutil/systest"
)

// maintenanceConfig has addresses that a restart finds again.
const maintenanceConfig = `
admin: {state_file: STATE}
listeners:
  ro: {bind: "127.0.0.1:RO", protocol: postgres, pool: replicas}
  web: {bind: "127.0.0.1:WEB", pool: web}
pools:
  replicas:
    check: {type: postgres, role: replica, CHECK}
    backends: [MEMBERS]
  web:
    retries: 2
    backends: [{name: n1, address: "127.0.0.1:NODE"}]
`

// A replica is taken out for work on it. It stays out over a reload that has another reason and over a restart, until it
// is given back. Neither the clients of the database nor a long download see anything of it.
func TestMaintenance(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	node := startNginx(t, "n1", "")
	ro, web := systest.ReservePort(t), systest.ReservePort(t)
	state := filepath.Join(tempDir(t), "state.json")
	config := strings.NewReplacer("STATE", state, "RO", fmt.Sprint(ro), "WEB", fmt.Sprint(web), "NODE", fmt.Sprint(node.port)).
		Replace(c.config(maintenanceConfig))
	r := startSluice(t, config)
	r.changing = true // the counters of a pool that changes are not those of the rig
	r.untilMembers("replicas", "pg2", "pg3")
	address := r.address("ro")
	output(t, pgCommand(t, c.members[0].address(), "pgbench", "-i", "-q"))
	c.untilReplayed(c.members[0])
	file := newDownload(t, node, fmt.Sprintf("127.0.0.1:%d", web))

	// Out of the pool, and over a reload.
	bench := startPgbench(t, address, "-S", "-C", "-c", "4", "-T", "3")
	r.order("drain", "replicas/pg2", "--wait", "1m")
	if a := r.status().backend(t, "pg2").Active; a != 0 {
		t.Errorf("%d sessions when drain has waited for the last", a)
	}
	writeFile(t, r.config, strings.Replace(readFile(t, r.config), "retries: 2", "retries: 1", 1))
	if out := r.order("reload"); !strings.Contains(out, "~ pool web retries: 2 -> 1") {
		t.Errorf("reload says\n%s", out)
	}
	r.untilMembers("replicas", "pg3")
	bench.finish(t)

	// Over a restart: sessions end where they began, new ones come to the successor.
	bench = startPgbench(t, address, "-S", "-c", "4", "-T", "4")
	until(t, "its clients are there", func() error { return r.open(4 + 1) })
	r.signal(syscall.SIGTERM)
	until(t, "the addresses are given up", func() error {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return errors.New("one is still taken")
		}
		return nil
	})
	next := startSluice(t, strings.Replace(config, "retries: 2", "retries: 1", 1))
	next.changing = true
	next.untilMembers("replicas", "pg3")
	short := startPgbench(t, address, "-S", "-C", "-c", "2", "-t", "50")
	short.finish(t)
	if a := next.status().backend(t, "pg2").Connects; a != 0 {
		t.Errorf("%d sessions on a replica that is out", a)
	}
	bench.finish(t)
	file.finish(t)
	if err := r.wait(); err != nil {
		t.Errorf("the first sluice ended with %v", err)
	}

	// Back.
	next.order("ready", "replicas/pg2", "--wait", "1m")
	next.untilMembers("replicas", "pg2", "pg3")
	if text := readFile(t, state); strings.Contains(text, "pg2\",\n") {
		t.Errorf("something is still set:\n%s", text)
	}
}

// order runs a command that changes something.
func (r *rig) order(args ...string) string {
	r.t.Helper()
	return output(r.t, exec.Command(sluiceProgram, append(args, "--socket", r.socket)...))
}

// A download is one that is under way for as long as the test likes.
type download struct {
	body io.ReadCloser
	sum  [sha256.Size]byte
}

func newDownload(t *testing.T, n *node, address string) *download {
	t.Helper()
	data := slices.Repeat([]byte("0123456789abcde\n"), 4<<20) // 64 MiB, more than all buffers on the way
	if err := os.WriteFile(filepath.Join(n.dir, "files", "large"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	answer, err := http.Get("http://" + address + "/files/large")
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("get: %v, %v", answer, err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return &download{answer.Body, sha256.Sum256(data)}
}

// finish takes the rest.
func (d *download) finish(t *testing.T) {
	t.Helper()
	h := sha256.New()
	if n, err := io.Copy(h, d.body); err != nil || [sha256.Size]byte(h.Sum(nil)) != d.sum {
		t.Errorf("the download: %d bytes, %v", n, err)
	}
	d.body.Close()
	http.DefaultClient.CloseIdleConnections()
}
