package handoff

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/sysutil/systest"
)

// A test that needs a process of its own runs this program again in a role.
const roleKey = "HANDOFF_TEST_ROLE"

var roles = map[string]func() int{
	"connect":   roleConnect,
	"killed":    roleKilled,
	"in flight": roleInFlight,
}

// startRole starts one with descriptors from 3 on. It is killed at the end of the test if it is not over.
func startRole(t *testing.T, role string, set func(*exec.Cmd)) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program)
	c.Env = append(os.Environ(), roleKey+"="+role)
	c.Stderr = os.Stderr
	if set != nil {
		set(c)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.ProcessState == nil {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	})
	return c
}

// TestSenderKilled receives half a message of a process that is no more.
func TestSenderKilled(t *testing.T) {
	near, far := socketpair(t)
	m := newMark(t)
	file, err := near.File()
	if err != nil {
		t.Fatal(err)
	}
	pipe := os.NewFile(uintptr(m.write), "pipe")
	m.write = -1
	child := startRole(t, "killed", func(c *exec.Cmd) { c.ExtraFiles = []*os.File{file, pipe} })
	file.Close()
	pipe.Close()
	near.Close()
	_, err = New(far).Expect(Batch)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	_ = child.Wait() // it was killed
	if status := child.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("the process ended otherwise: %v", child.ProcessState)
	}
	m.checkEnded(t)
}

// roleKilled sends a batch on descriptor 3, with descriptor 4, and is killed in the middle of it.
func roleKilled() int {
	c, err := inherited()
	if err == nil {
		Hook = func(_ *net.UnixConn, point string) {
			if point == "sending batch" {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
		err = New(c).Send(Batch, note{Text: "half of this"}, repeated(4, 100)...)
	}
	fmt.Fprintln(os.Stderr, "not killed:", err)
	return 1
}

// inherited is the socket that this process was started with.
func inherited() (*net.UnixConn, error) {
	file := os.NewFile(3, "socket")
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}

// TestInFlight sends more descriptors than a user may have on their way, in a process that is bound by that.
func TestInFlight(t *testing.T) {
	child := startRole(t, "in flight", func(c *exec.Cmd) {
		if user := systest.Unprivileged(t); user != nil {
			c.Env = append(c.Env, fmt.Sprintf("HANDOFF_TEST_USER=%d", user.Uid))
		}
	})
	if err := child.Wait(); err != nil {
		t.Error(err)
	}
}

// roleInFlight is such a process. It reads what it sends only when it can send no more, and then it can.
func roleInFlight() int {
	if err := inFlight(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func inFlight() error {
	near, far, err := openPair()
	if err == nil {
		end := time.Now().Add(patient)
		err = errors.Join(near.SetDeadline(end), far.SetDeadline(end))
	}
	if err == nil {
		err = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 200, Max: 200})
	}
	if user, _ := strconv.Atoi(os.Getenv("HANDOFF_TEST_USER")); err == nil && user != 0 {
		err = syscall.Setuid(user) // the capabilities that lift the bound go with it
	}
	if err != nil {
		return err
	}
	a, b := New(near), New(far)
	sent := 0
	for ; err == nil && sent < 100; sent++ {
		err = a.Send(Batch, nil, repeated(0, 60)...)
	}
	if !errors.Is(err, syscall.ETOOMANYREFS) || !strings.Contains(err.Error(), "more descriptors of this user than RLIMIT_NOFILE") {
		return fmt.Errorf("after %d times 60 descriptors: %w", sent, err)
	}
	for range sent - 1 {
		m, err := b.Expect(Batch)
		if err != nil {
			return err
		}
		m.CloseFiles()
	}
	return a.Send(Batch, nil, repeated(0, 60)...)
}
