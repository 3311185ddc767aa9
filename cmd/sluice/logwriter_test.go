package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/configs"
)

// fullPipe returns a pipe that takes no further byte until somebody reads it: empty lines.
func fullPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.Close() // a test may have closed it
		_ = w.Close()
	})
	raw, err := w.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	lines := []byte(strings.Repeat("\n", 4096))
	err = raw.Write(func(fd uintptr) bool {
		for err == nil {
			_, err = syscall.Write(int(fd), lines)
		}
		return true
	})
	if err != nil && !errors.Is(err, syscall.EAGAIN) {
		t.Fatal(err)
	}
	return r, w
}

// TestLogResumes logs more than fits while nobody reads the log, and then reads it. The test would hang if logging
// waited.
func TestLogResumes(t *testing.T) {
	const lines = 2 * logQueue
	r, pipe := fullPipe(t)
	log, w := newLogger(pipe, configs.Log{Format: configs.FormatText})
	for range lines {
		log.Info("hello")
	}
	hellos, dropped := 0, 0
	notice := regexp.MustCompile(`level=WARN msg="log lines dropped: .*" lines=(\d+)`)
	for s := bufio.NewScanner(r); hellos+dropped < lines && s.Scan(); {
		if strings.HasSuffix(s.Text(), "msg=hello") {
			hellos++
		} else if m := notice.FindStringSubmatch(s.Text()); m != nil {
			dropped, _ = strconv.Atoi(m[1]) // the expression has digits only
		}
	}
	w.close()
	// The writer holds one line, and the queue is full, or was when it took that line.
	if dropped < lines-logQueue-1 || dropped > lines-logQueue || w.linesDropped() != uint64(dropped) {
		t.Errorf("%d lines reported as dropped and %d counted, of %d with a queue of %d", dropped, w.linesDropped(), lines,
			logQueue)
	}
}

// TestLogGivesUp closes a log that nobody reads.
func TestLogGivesUp(t *testing.T) {
	r, pipe := fullPipe(t)
	log, w := newLogger(pipe, configs.Log{Format: configs.FormatText})
	log.Info("hello")
	w.close()
	select {
	case <-w.done:
		t.Error("the line was written, so this test proves nothing")
	default:
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	<-w.done
}

// stuckProcess starts sluice with a standard error that nobody reads. It is killed at the end of the test if it is
// still there.
func stuckProcess(t *testing.T, args ...string) (c *exec.Cmd, ended <-chan error) {
	t.Helper()
	_, pipe := fullPipe(t)
	c = exec.Command("sluice", args...) // testscript has put it into PATH
	c.Stderr = pipe
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() }) // it has ended, mostly
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	return c, done
}

func expectExit(t *testing.T, ended <-chan error, status int) {
	t.Helper()
	select {
	case err := <-ended:
		got := 0
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			got = exit.ExitCode()
		}
		if got != status {
			t.Errorf("exit status %d (%v), want %d", got, err, status)
		}
	case <-time.After(patience):
		t.Errorf("sluice still runs after %v", patience)
	}
}

// TestStuckLogStopsNothing: sluice serves and ends although nobody reads its log.
func TestStuckLogStopsNothing(t *testing.T) {
	dir := t.TempDir()
	socket, file := filepath.Join(dir, "s.sock"), filepath.Join(dir, "s.yaml")
	const config = `
listeners: {in: {bind: "127.0.0.1:0", pool: out}}
pools: {out: {queue: {max: 0}, backends: ["127.0.0.1:1"]}}
`
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c, ended := stuckProcess(t, "run", "-c", file, "--admin", "", "--socket", socket)
	var status admin.Status
	ctx, cancel := context.WithTimeout(t.Context(), patience) // the socket takes connections before anybody answers
	defer cancel()
	eventually(t, func() (err error) {
		status, _, err = admin.FetchStatus(ctx, socket)
		return err
	})
	conn, err := net.DialTimeout("tcp", status.Listeners[0].Addresses[0].String(), patience)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	if err == nil {
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(patience)) // fails only on a closed connection
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
			t.Errorf("a session without a backend: %v, want its end", err)
		}
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	expectExit(t, ended, exitOK)
}

// TestStuckErrorEnds: an error that nobody reads is no reason to stay.
func TestStuckErrorEnds(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, ended := stuckProcess(t, "run", "--listen", taken.Addr().String(), "--backend", "127.0.0.1:1", "--admin", "",
		"--socket", "")
	expectExit(t, ended, exitFailed)
}

// TestLogThatCannotBeWritten counts each line that is lost, whatever the reason.
func TestLogThatCannotBeWritten(t *testing.T) {
	f := func(name string, out *os.File) {
		t.Helper()
		const lines = 10
		log, w := newLogger(out, configs.Log{Format: configs.FormatText})
		for range lines {
			log.Info("hello")
		}
		w.close()
		if n := w.linesDropped(); n != lines {
			t.Errorf("%s: %d lines are counted, want %d", name, n, lines)
		}
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	f("disk full", full)
	r, gone, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer gone.Close()
	_ = r.Close()
	f("nobody reads", gone)
}
