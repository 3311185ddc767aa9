package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// haproxyConfig is what an expert would write; socket, unless empty, is where a successor asks for the listeners.
func (b *bed) haproxyConfig(socket string, limit time.Duration) (string, error) {
	var text strings.Builder
	// maxconn needs two descriptors each, and stays below 20,000 with them.
	fmt.Fprintf(&text, "global\n\tnbthread %d\n\tmaxconn 9000\n", runtime.NumCPU())
	if socket != "" {
		fmt.Fprintf(&text, "\tstats socket %s mode 600 level admin expose-fd listeners\n", socket)
	}
	if limit > 0 {
		fmt.Fprintf(&text, "\thard-stop-after %dms\n", limit.Milliseconds())
	}
	text.WriteString("defaults\n\tmode tcp\n\ttimeout connect 5s\n\ttimeout client 1h\n\ttimeout server 1h\n")
	fmt.Fprintf(&text, "listen bench\n\tbind %s\n\tbalance roundrobin\n", b.target)
	for i, backend := range b.backends {
		fmt.Fprintf(&text, "\tserver b%d %s\n", i, backend)
	}
	return b.config("haproxy.cfg", text.String())
}

// startMaster starts HAProxy as its package does, with a master that starts workers. It starts itself anew at SIGUSR2 and
// then a worker, which takes the listeners; the old one is asked to end when its sessions have.
func startMaster(limit time.Duration) func(context.Context, *bed) (func(context.Context) (told, error), error) {
	return func(ctx context.Context, b *bed) (func(context.Context) (told, error), error) {
		path, err := b.haproxyConfig("", limit)
		if err != nil {
			return nil, err
		}
		cli := filepath.Join(b.dir, "master.sock")
		master, err := b.keeper.run("haproxy", "-W", "-S", cli, "-f", path)
		if err != nil {
			return nil, err
		}
		var now []int
		err = until(ctx, func() (err error) { now, err = newWorkers(cli, nil); return err })
		return func(ctx context.Context) (told, error) {
			if err := syscall.Kill(master, syscall.SIGUSR2); err != nil {
				return told{}, fmt.Errorf("signal HAProxy: %w", err)
			}
			before := now
			return told{}, until(ctx, func() (err error) { now, err = newWorkers(cli, before); return err })
		}, err
	}
}

// newWorkers returns the workers in service when none of those of before is.
func newWorkers(cli string, before []int) ([]int, error) {
	now, err := workers(cli)
	if err == nil && slices.ContainsFunc(now, func(pid int) bool { return slices.Contains(before, pid) }) {
		err = fmt.Errorf("worker %v is in service still", before)
	}
	return now, err
}

// workers asks the master which are in service. Those that are to end are listed below another title.
func workers(cli string) (now []int, err error) {
	text, err := askHAProxy(cli, "show proc")
	if err != nil {
		return nil, err
	}
	inService := false
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if strings.HasPrefix(line, "# ") {
			inService = strings.TrimSpace(line) == "# workers"
		}
		if !inService || len(words) < 2 || words[1] != "worker" {
			continue
		}
		pid, err := strconv.Atoi(words[0])
		if err != nil {
			return nil, fmt.Errorf("read HAProxy's processes: %w", err)
		}
		now = append(now, pid)
	}
	if len(now) == 0 {
		return nil, fmt.Errorf("HAProxy has no worker: %q", text)
	}
	return now, nil
}

// startAfter starts HAProxy without a master. An upgrade is a process that gets the listeners of the one before over its
// socket, and then asks it to end when its sessions have.
func startAfter(ctx context.Context, b *bed) (func(context.Context) (told, error), error) {
	cli := filepath.Join(b.dir, "haproxy.sock")
	path, err := b.haproxyConfig(cli, 0)
	if err != nil {
		return nil, err
	}
	pid, err := b.keeper.run("haproxy", "-db", "-f", path)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (told, error) {
		pid, err = b.keeper.run("haproxy", "-db", "-f", path, "-x", cli, "-sf", strconv.Itoa(pid))
		if err != nil {
			return told{}, err
		}
		return told{}, until(ctx, func() error {
			text, err := askHAProxy(cli, "show info")
			if want := fmt.Sprintf("\nPid: %d\n", pid); err == nil && !strings.Contains(text, want) {
				err = fmt.Errorf("process %d does not answer yet", pid)
			}
			return err
		})
	}, nil
}

// askHAProxy sends a command to a socket of HAProxy and returns the answer.
func askHAProxy(socket, command string) (string, error) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(c, command); err != nil {
		return "", err
	}
	// The master's socket takes commands until there are no more.
	if err := c.(*net.UnixConn).CloseWrite(); err != nil {
		return "", err
	}
	text, err := io.ReadAll(c)
	return string(text), err
}
