package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"sluice/bench/record"
)

// stopPatience is how long a process may take to stop when asked; tests
// shorten it.
var stopPatience = 5 * time.Second

// A process is a child in a process group of its own. It does not outlive
// this process, whatever ends it: the kernel sends it SIGTERM then. That
// signal follows the thread that started it, so processes are started on the
// main goroutine, which main.go locks to the main thread.
type process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.Closer
	said  record.Tail // what it wrote
	ended chan struct{}
}

// startProcess starts a child. Its standard output goes to stdout, which is
// closed when the child has ended; nil keeps it with standard error.
func startProcess(name string, c command, stdout io.WriteCloser) (_ *process, err error) {
	p := &process{name: name, cmd: exec.Command(c.path, c.args...), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), c.env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	p.cmd.Stderr = &p.said
	// What it leaves behind may keep its standard error open.
	p.cmd.WaitDelay = 100 * time.Millisecond
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.cmd.Stdout = &p.said
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.cmd.Wait()
		if stdout != nil {
			stdout.Close()
		}
		close(p.ended)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// alive returns an error when the process has ended by itself.
func (p *process) alive() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s ended: %v", p.name, p.cmd.ProcessState)
	default:
		return nil
	}
}

// explain adds to an error what the process has written.
func (p *process) explain(err error) error {
	said := p.said.String()
	if err == nil || said == "" {
		return err
	}
	return fmt.Errorf("%w; %s said: %s", err, p.name, said)
}

// stop asks the process to end and waits until it has, then kills what is
// left of its group.
func (p *process) stop() error {
	p.stdin.Close()
	p.cmd.Process.Signal(syscall.SIGTERM)
	defer syscall.Kill(-p.pid(), syscall.SIGKILL)
	select {
	case <-p.ended:
		return nil
	case <-time.After(stopPatience):
	}
	syscall.Kill(-p.pid(), syscall.SIGKILL)
	<-p.ended
	return fmt.Errorf("stop %s: still running after %v, killed", p.name, stopPatience)
}
