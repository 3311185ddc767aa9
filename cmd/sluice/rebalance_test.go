package main

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/configs"
	"sluice/l4"
)

// TestRebalanceAfterReload adds a server to one with sessions that are idle and one that is not. The clients whose
// sessions are closed come back, and are the only ones that see anything.
func TestRebalanceAfterReload(t *testing.T) {
	const sessions, busy = 20, 4
	servers := startNamedServers(t, 2)
	front := filepath.Join(t.TempDir(), "front.sock")
	text := func(backends []string) []byte {
		return fmt.Appendf(nil, "admin: {listen: '', socket: ''}\nlisteners: {web: {bind: 'unix:%s', pool: web}}\n"+
			"pools: {web: {backends: [%s], check: {type: off}, rebalance: {rate: 100/s, idle: 1s}}}\n", front, strings.Join(backends, ", "))
	}
	file, err := configs.Parse("one.yaml", text(servers[:1]))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	out := openLogWriter(io.Discard, log)
	t.Cleanup(out.close)
	w, err := newWorld(file, log, out, bindAdvice{})
	if err != nil {
		t.Fatal(err)
	}
	w.read = func() (*configs.File, error) { return configs.Parse("two.yaml", text(servers)) }
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	stop, over := make(chan struct{}), make(chan error, sessions)
	for i := range sessions {
		go func() { over <- stayConnected(front, i < busy, stop) }()
	}
	active := func() (all []int) {
		for _, b := range w.now.Load().pools[0].Backends() {
			all = append(all, b.Stats().Active)
		}
		return all
	}
	eventually(t, func() error {
		if got := active(); !slices.Equal(got, []int{sessions}) {
			return fmt.Errorf("all are connected: not yet, they have %v", got)
		}
		return nil
	})
	if _, err := w.reload("test"); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if got := active(); !slices.Equal(got, []int{sessions / 2, sessions / 2}) {
			return fmt.Errorf("both have their share: not yet, they have %v", got)
		}
		return nil
	})
	for _, e := range w.server.Stats().Ended {
		if e.Reason != l4.Rebalanced || e.Count != sessions/2 {
			t.Errorf("%d sessions have ended with %v, want %d with %v", e.Count, e.Reason, sessions/2, l4.Rebalanced)
		}
	}
	close(stop)
	for range sessions {
		if err := <-over; err != nil {
			t.Error(err)
		}
	}
	if err := w.server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	w.stop()
}

// stayConnected is a client that comes back when its session is closed in good order. One that is busy has something on
// its way all the time, and is not to be closed.
func stayConnected(path string, busy bool, stop <-chan struct{}) error {
	for {
		conn, err := net.Dial("unix", path)
		if err != nil {
			return err
		}
		done := make(chan struct{})
		go func() {
			select {
			case <-stop:
			case <-done:
			}
			_ = conn.Close()
		}()
		lines := bufio.NewReader(conn)
		_, err = lines.ReadString('\n') // the server's number
		if err == nil && busy {
			_, err = conn.Write(make([]byte, 64<<20)) // it comes back, and is not read: this blocks
		} else if err == nil {
			_, err = lines.ReadByte()
		}
		close(done)
		select {
		case <-stop:
			return nil
		default:
		}
		if err != io.EOF || busy {
			return fmt.Errorf("busy %t: the session ended with %w", busy, err)
		}
	}
}

// startNamedServers starts servers that say their number, and then send back what they receive.
func startNamedServers(t *testing.T, count int) (addresses []string) {
	for number := range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		addresses = append(addresses, l.Addr().String())
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					_, _ = fmt.Fprintln(conn, number)
					_, _ = io.Copy(conn, conn)
				}()
			}
		}()
	}
	return addresses
}
