package e2e

import (
	"bufio"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// A psqlSession is a psql that is asked one thing after another.
type psqlSession struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func openPsql(t *testing.T, address string) *psqlSession {
	t.Helper()
	s := &psqlSession{t: t, cmd: pgCommand(t, address, "psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1")}
	in, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.in, s.out = in, bufio.NewScanner(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// ask runs a statement that gives one row. The time is bounded by that of the command.
func (s *psqlSession) ask(statement, want string) {
	s.t.Helper()
	if _, err := io.WriteString(s.in, statement+"\n"); err != nil {
		s.t.Fatal(err)
	}
	if !s.out.Scan() || strings.TrimSpace(s.out.Text()) != want {
		s.t.Fatalf("%s gives %q (%v), want %q", statement, s.out.Text(), s.out.Err(), want)
	}
}

// close ends the session as a user does. It does nothing the second time.
func (s *psqlSession) close() {
	s.t.Helper()
	if s.cmd.ProcessState != nil {
		return
	}
	s.in.Close()
	if err := s.cmd.Wait(); err != nil {
		s.t.Fatalf("psql: %v", err)
	}
}
