package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"time"

	"sluice/bench/proc"
	"sluice/bench/record"
)

// keeperArg as the first argument makes this program a keeper: what is upgraded runs below it. It is the parent of those
// that daemons and processes that made way for others leave behind, so that it knows all that ever began, and when its
// standard input ends, as it does however the one at the other end did, it ends them all by their ids.
const keeperArg = "keeper"

// prSetChildSubreaper is PR_SET_CHILD_SUBREAPER of prctl(2), which package syscall does not name.
const prSetChildSubreaper = 36

// endPatience is how long those who are asked to end may take before they are killed.
const endPatience = 2 * time.Second

// keep starts the commands that it reads, each a JSON list on a line, and prints the pid or why there is none.
func keep(commands io.Reader, answers io.Writer) error {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); errno != 0 {
		return os.NewSyscallError("prctl PR_SET_CHILD_SUBREAPER", errno)
	}
	started := make(chan struct{}, 1)
	go reap(started)
	lines := bufio.NewScanner(commands)
	for lines.Scan() {
		var args []string
		if err := json.Unmarshal(lines.Bytes(), &args); err != nil {
			return err
		}
		pid, err := start(args)
		if err != nil {
			fmt.Fprintln(answers, err)
			continue
		}
		select {
		case started <- struct{}{}:
		default:
		}
		fmt.Fprintln(answers, pid)
	}
	return endAll()
}

// start starts a program in a process group of its own. What it says goes where the keeper's errors go.
func start(args []string) (pid int, err error) {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return 0, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	// By its full path: nginx starts its successor by the name that it was started by.
	args = append([]string{path}, args[1:]...)
	return syscall.ForkExec(path, args, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{null.Fd(), 2, 2},
		Sys: &syscall.SysProcAttr{Setpgid: true}})
}

// reap waits for every child that ends. With none left there will be none before another is started.
func reap(started chan struct{}) {
	for {
		_, err := syscall.Wait4(-1, nil, 0, nil)
		if err == syscall.ECHILD {
			<-started
		}
	}
}

// endAll asks all descendants to end, and kills those that do not.
func endAll() error {
	asked, deadline := []int{}, time.Now().Add(endPatience)
	for {
		tree, err := proc.Tree(os.Getpid())
		if err != nil {
			return err
		}
		left := tree[1:]
		if len(left) == 0 {
			return nil
		}
		late := time.Now().After(deadline)
		for _, pid := range left {
			switch {
			case late:
				syscall.Kill(pid, syscall.SIGKILL)
			case !slices.Contains(asked, pid):
				asked = append(asked, pid)
				syscall.Kill(pid, syscall.SIGTERM)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A keeper is the other end: the process that keep runs in.
type keeper struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	answers *bufio.Scanner
	said    record.Tail
}

func startKeeper() (_ *keeper, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start keeper: %w", err)
	}
	k := &keeper{cmd: exec.Command(self, keeperArg)}
	// Not of the terminal's group: Ctrl-C is for this process, which then ends what it has begun.
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	k.cmd.Stderr = &k.said
	k.cmd.WaitDelay = time.Second
	if k.stdin, err = k.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start keeper: %w", err)
	}
	stdout, err := k.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start keeper: %w", err)
	}
	k.answers = bufio.NewScanner(stdout)
	if err := k.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start keeper: %w", err)
	}
	return k, nil
}

// run has a program started, and returns its pid.
func (k *keeper) run(args ...string) (pid int, err error) {
	if err := json.NewEncoder(k.stdin).Encode(args); err != nil {
		return 0, fmt.Errorf("start %s: %w", args[0], err)
	}
	if !k.answers.Scan() {
		return 0, fmt.Errorf("start %s: the keeper has ended: %s", args[0], &k.said)
	}
	if _, err := fmt.Sscan(k.answers.Text(), &pid); err != nil {
		return 0, fmt.Errorf("start %s: %s", args[0], k.answers.Text())
	}
	return pid, nil
}

// pids returns the processes that are kept.
func (k *keeper) pids() ([]int, error) {
	tree, err := proc.Tree(k.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	return tree[1:], nil
}

// spent is the processor time of all that were ever kept, and of the keeper, which has next to nothing to do.
func (k *keeper) spent() (time.Duration, error) { return proc.Spent(k.cmd.Process.Pid) }

// resident is the memory of all of them.
func (k *keeper) resident() (sum int64, err error) {
	const tries = 10 // one may end between the two reads
	for range tries {
		var pids []int
		if pids, err = k.pids(); err != nil {
			return 0, err
		}
		if sum, err = proc.Resident(pids); err == nil {
			return sum, nil
		}
		runtime.Gosched()
	}
	return 0, err
}

// end ends all of them and the keeper.
func (k *keeper) end() error {
	k.stdin.Close()
	if err := k.cmd.Wait(); err != nil {
		return fmt.Errorf("end what was started: %w: %s", err, &k.said)
	}
	return nil
}
