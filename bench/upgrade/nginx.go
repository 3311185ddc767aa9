package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sluice/bench/proc"
)

// nginxModule is where Debian puts the stream module; elsewhere it is taken to be compiled in.
const nginxModule = "/usr/lib/nginx/modules/ngx_stream_module.so"

// An nginxBed is nginx as a daemon, for only as that does it start a new binary.
type nginxBed struct {
	*bed
	pidFile, log string
}

// startNginx starts nginx, which is upgraded as way does.
func startNginx(way func(*nginxBed, context.Context) (told, error), limit time.Duration) func(context.Context, *bed) (func(context.Context) (told, error), error) {
	return func(ctx context.Context, b *bed) (func(context.Context) (told, error), error) {
		n := &nginxBed{bed: b, pidFile: filepath.Join(b.dir, "nginx.pid"), log: filepath.Join(b.dir, "nginx.log")}
		path, err := b.config("nginx.conf", n.config(limit))
		if err != nil {
			return nil, err
		}
		if _, err := b.keeper.run("nginx", "-c", path, "-e", n.log); err != nil {
			return nil, err
		}
		err = until(ctx, func() error { return n.serves(0) })
		return func(ctx context.Context) (told, error) { return way(n, ctx) }, err
	}
}

func (n *nginxBed) config(limit time.Duration) string {
	var text strings.Builder
	if _, err := os.Stat(nginxModule); err == nil {
		fmt.Fprintf(&text, "load_module %s;\n", nginxModule)
	}
	fmt.Fprintf(&text, "worker_processes %d;\npid %s;\nerror_log %s notice;\n", runtime.NumCPU(), n.pidFile, n.log)
	if limit > 0 {
		fmt.Fprintf(&text, "worker_shutdown_timeout %dms;\n", limit.Milliseconds())
	}
	// A worker may get nearly all sessions, each of which is two connections to it.
	text.WriteString("events {\n\tworker_connections 19000;\n}\nstream {\n\taccess_log off;\n\tupstream bench {\n")
	for _, backend := range n.backends {
		fmt.Fprintf(&text, "\t\tserver %s max_fails=0;\n", backend)
	}
	fmt.Fprintf(&text, "\t}\n\tserver {\n\t\tlisten %s reuseport backlog=4096;\n\t\tproxy_pass bench;\n", n.target)
	text.WriteString("\t\ttcp_nodelay on;\n\t\tproxy_connect_timeout 5s;\n\t\tproxy_timeout 1h;\n\t}\n}\n")
	return text.String()
}

// master is the pid in the pid file.
func (n *nginxBed) master() (int, error) {
	text, err := os.ReadFile(n.pidFile)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// nginxWorkers returns the children of a master that take connections. Those that are to end say so in their title.
func nginxWorkers(master int) (pids []int) {
	tree, err := proc.Tree(master)
	if err != nil {
		return nil
	}
	for _, pid := range tree[1:] {
		title, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && string(bytes.TrimRight(title, "\x00 ")) == "nginx: worker process" {
			pids = append(pids, pid)
		}
	}
	return pids
}

var errNotYet = errors.New("its workers are not ready")

// serves returns nil when a master other than old has all its workers.
func (n *nginxBed) serves(old int) error {
	master, err := n.master()
	if err == nil && (master == old || len(nginxWorkers(master)) < runtime.NumCPU()) {
		err = errNotYet
	}
	return err
}

// changeBinary is nginx's upgrade of its binary: the master starts a new one, and is then asked to end with its workers
// when their sessions have. A master whose own predecessor is there still ignores the signal.
func changeBinary(n *nginxBed, ctx context.Context) (told, error) {
	old, err := n.master()
	if err != nil {
		return told{}, err
	}
	const ignored = "the changing binary signal is ignored"
	before := n.logged(ignored)
	if err := syscall.Kill(old, syscall.SIGUSR2); err != nil {
		return told{}, fmt.Errorf("signal nginx: %w", err)
	}
	refused := false
	err = until(ctx, func() error {
		if refused = n.logged(ignored) > before; refused {
			return nil
		}
		return n.serves(old)
	})
	if err != nil || refused {
		return told{refused: ignored}, err
	}
	if err := syscall.Kill(old, syscall.SIGQUIT); err != nil {
		return told{}, fmt.Errorf("signal nginx: %w", err)
	}
	return told{}, until(ctx, func() error {
		master, err := n.master()
		if err != nil {
			return err
		}
		// The successor is a child of the old master, so its workers are among that one's descendants.
		now := nginxWorkers(master)
		if slices.ContainsFunc(nginxWorkers(old), func(pid int) bool { return !slices.Contains(now, pid) }) {
			err = errNotYet
		}
		return err
	})
}

// reload is nginx's way to a new configuration: the master starts new workers and asks the old ones to end when their
// sessions have.
func reload(n *nginxBed, ctx context.Context) (told, error) {
	master, err := n.master()
	if err != nil {
		return told{}, err
	}
	old := nginxWorkers(master)
	if err := syscall.Kill(master, syscall.SIGHUP); err != nil {
		return told{}, fmt.Errorf("signal nginx: %w", err)
	}
	return told{}, until(ctx, func() error {
		now := nginxWorkers(master)
		if len(now) < runtime.NumCPU() || slices.ContainsFunc(now, func(pid int) bool { return slices.Contains(old, pid) }) {
			return errNotYet
		}
		return nil
	})
}

// logged counts the lines of the log with a text.
func (n *nginxBed) logged(text string) int {
	log, err := os.ReadFile(n.log)
	if err != nil {
		return 0
	}
	return bytes.Count(log, []byte(text))
}
