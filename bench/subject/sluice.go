// Package subject runs the sluice that is measured from within: one whose configuration has the listener ping, for the
// sessions beside what is done to it, and whose log says how that goes.
package subject

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"sluice/bench/record"
)

// A Sluice is a process with a configuration file. It must be started on a thread that lasts: it ends with that.
type Sluice struct {
	Config string // path of its configuration
	Target netip.AddrPort
	cmd    *exec.Cmd
}

// Start begins a sluice with a configuration in a folder, and returns when it is ready. program is built there if it is "".
// heard is told every line of its log, from a goroutine of its own; errors are shown besides.
func Start(program, dir, config string, heard func(line string)) (*Sluice, error) {
	program, err := record.Sluice(context.Background(), program, dir)
	if err != nil {
		return nil, err
	}
	s := &Sluice{Config: filepath.Join(dir, "sluice.yaml")}
	if err := os.WriteFile(s.Config, []byte(config), 0o600); err != nil {
		return nil, err
	}
	s.cmd = exec.Command(program, "run", "-c", s.Config, "--admin", "127.0.0.1:0", "--socket", filepath.Join(dir, "sock"))
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	said, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan string)
	go listen(bufio.NewScanner(said), ready, heard)
	address, ok := <-ready
	if !ok {
		s.Stop()
		return nil, errors.New("sluice does not start")
	}
	s.Target, err = netip.ParseAddrPort(address)
	return s, err
}

// listen reads the log: where sluice listens, that it is ready, and what else is heard.
func listen(lines *bufio.Scanner, ready chan string, heard func(string)) {
	defer close(ready)
	address := ""
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.Contains(line, "msg=listening"):
			_, rest, _ := strings.Cut(line, "addresses=")
			address, _, _ = strings.Cut(rest, " ")
		case strings.Contains(line, "msg=ready "):
			ready <- address
		case strings.Contains(line, "level=ERROR"):
			fmt.Fprintln(os.Stderr, line)
		}
		heard(line)
	}
}

// PID returns its process id.
func (s *Sluice) PID() int { return s.cmd.Process.Pid }

// Reload lets it read its configuration again.
func (s *Sluice) Reload() error { return s.cmd.Process.Signal(syscall.SIGHUP) }

// Stop ends it.
func (s *Sluice) Stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
}
