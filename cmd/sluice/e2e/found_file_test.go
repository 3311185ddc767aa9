package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A configMap is a folder as Kubernetes mounts one: the file is a link through another one, which is swapped.
type configMap struct {
	t       *testing.T
	dir     string
	version int
}

// path is the file that sluice is told.
func (m *configMap) path() string { return filepath.Join(m.dir, "app.yaml") }

// put is what the kubelet does with a new version.
func (m *configMap) put(list string) {
	m.t.Helper()
	m.version++
	version := fmt.Sprintf("..version_%d", m.version)
	data, next := filepath.Join(m.dir, "..data"), filepath.Join(m.dir, "..data_tmp")
	before, _ := os.Readlink(data) // the first has none before it
	steps := []func() error{
		func() error { return os.Mkdir(filepath.Join(m.dir, version), 0o755) },
		func() error { return os.WriteFile(filepath.Join(m.dir, version, "app.yaml"), []byte(list), 0o644) },
		func() error { return os.Symlink(version, next) },
		func() error { return os.Rename(next, data) },
	}
	if before == "" {
		steps = append(steps, func() error { return os.Symlink("..data/app.yaml", m.path()) })
	} else {
		steps = append(steps, func() error { return os.RemoveAll(filepath.Join(m.dir, before)) })
	}
	for _, step := range steps {
		if err := step(); err != nil {
			m.t.Fatal(err)
		}
	}
}

// putNodes lists nodes in YAML.
func (m *configMap) putNodes(nodes ...*node) {
	m.t.Helper()
	var list strings.Builder
	for _, n := range nodes {
		fmt.Fprintf(&list, "- {name: %s, address: \"127.0.0.1:%d\"}\n", n.name, n.port)
	}
	m.put(list.String())
}

// A foundLoad is clients that come, are answered and go. None may fail.
type foundLoad struct {
	t       *testing.T
	address string
	over    chan struct{}
	running sync.WaitGroup
	answers map[string]*atomic.Int64 // by node
	failure atomic.Pointer[error]
}

func startFoundLoad(t *testing.T, address string, nodes ...*node) *foundLoad {
	l := &foundLoad{t: t, address: address, over: make(chan struct{}), answers: make(map[string]*atomic.Int64)}
	for _, n := range nodes {
		l.answers[n.name] = new(atomic.Int64)
	}
	for range 4 {
		l.running.Go(func() {
			for {
				select {
				case <-l.over:
					return
				default:
				}
				if err := l.visit(); err != nil {
					l.failure.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	return l
}

func (l *foundLoad) visit() error {
	c, err := net.DialTimeout("tcp", l.address, patient)
	if err != nil {
		return err
	}
	defer c.Close()
	who, err := askNode(c)
	if err != nil {
		return err
	}
	count, known := l.answers[who]
	if !known {
		return fmt.Errorf("answered by %q", who)
	}
	count.Add(1)
	return nil
}

// askNode asks the node at the other end of a connection for its name.
func askNode(c net.Conn) (name string, err error) {
	if err := c.SetDeadline(time.Now().Add(patient)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return "", err
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	if _, err := fmt.Fscan(answer.Body, &name); err != nil {
		return "", err
	}
	return name, nil
}

// untilMore waits until a node has answered some more clients.
func (l *foundLoad) untilMore(n *node) {
	l.t.Helper()
	before := l.answers[n.name].Load()
	until(l.t, n.name+" answers clients", func() error {
		if err := l.failure.Load(); err != nil {
			l.t.Fatalf("a client failed: %v", *err)
		}
		if more := l.answers[n.name].Load() - before; more < 20 {
			return fmt.Errorf("%d of them", more)
		}
		return nil
	})
}

// stop ends the load, of which nothing may have failed.
func (l *foundLoad) stop() {
	l.t.Helper()
	close(l.over)
	l.running.Wait()
	if err := l.failure.Load(); err != nil {
		l.t.Errorf("a client failed: %v", *err)
	}
}

// untilSaid waits until the log has a line with this text.
func (r *rig) untilSaid(text string) {
	r.t.Helper()
	until(r.t, "the log says "+text, func() error {
		if !strings.Contains(readFile(r.t, r.log), text) {
			return errors.New("it does not")
		}
		return nil
	})
}

// TestFoundInFile: a pool has the backends that a file lists. It serves none before the file is there, follows every new
// version, and keeps what it has while the file is broken or empty. No client fails, and a session on a backend that is not
// listed any more goes on.
func TestFoundInFile(t *testing.T) {
	t.Parallel()
	a, b, c := startNginx(t, "a", ""), startNginx(t, "b", ""), startNginx(t, "c", "")
	m := &configMap{t: t, dir: tempDir(t)}
	r := startSluice(t, fmt.Sprintf(`
listeners: {web: {bind: "127.0.0.1:0", pool: web}}
pools:
  web:
    discover: [{file: %s}]
    remove_after: 1h
    queue: {timeout: 2m}
    check: {interval: 100ms, down_interval: 100ms}
`, m.path()))
	r.changing = true // the load ends when the test does
	r.untilSaid(m.path() + ": no such file or directory")
	address := r.address("web")

	long, err := net.DialTimeout("tcp", address, patient) // waits in the queue
	if err != nil {
		t.Fatal(err)
	}
	defer long.Close()
	m.putNodes(a)
	expectNode := func(want *node) {
		t.Helper()
		if who, err := askNode(long); err != nil || who != want.name {
			t.Fatalf("answered by %q, error %v, want %s", who, err, want.name)
		}
	}
	expectNode(a)

	l := startFoundLoad(t, address, a, b, c)
	l.untilMore(a)
	m.putNodes(a, b)
	l.untilMore(b)
	m.putNodes(b)
	r.untilUsable("a", false)
	served := l.answers["a"].Load()
	l.untilMore(b)
	if more := l.answers["a"].Load() - served; more > 4 { // those that were under way
		t.Errorf("a has answered %d clients since it is not listed any more", more)
	}
	expectNode(a)

	m.put("- 127.0.0.1:80\n- 127.0.0.1\n")
	r.untilSaid(m.path() + `:2:3: \"127.0.0.1\" has no port: write 127.0.0.1:PORT`)
	l.untilMore(b)
	m.put(fmt.Sprintf(`{"backends": [{"address": "127.0.0.1:%d", "name": "c"}]}`, c.port))
	l.untilMore(c)
	r.untilUsable("b", false)
	m.put("[]") // and on_empty is keep
	r.untilSaid(`"backends":0`)
	l.untilMore(c)
	m.putNodes(a, c)
	l.untilMore(a)
	expectNode(a)
	l.stop()
}
