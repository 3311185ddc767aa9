package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"sluice/cmd/sluice/internal/systemd"
)

// A launch is how this process was started, so that its successor can be started in the same way.
type launch struct {
	program string   // absolute path, by which another program may be found when it is looked for again
	args    []string // what follows the program
	once    bool     // what was read then cannot be read again
}

// running is the program that runs, whatever has become of the file that it was started from: see proc(5).
const running = "/proc/self/exe"

// thisLaunch returns how this process was started. It is to be called before anything can have replaced the program.
func thisLaunch() launch {
	return launch{program: startedFrom(os.Args[0]), args: withoutTakeOver(os.Args[1:])}
}

// startedFrom returns the path of the program as it was called. A link is not followed, if it can be helped: who installs
// another version may turn the link.
func startedFrom(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		if path, err = filepath.Abs(path); err == nil && isRunning(path) {
			return path
		}
	}
	path, _ := os.Executable() // "" = unknown
	return path
}

// isRunning reports whether the file at path is the program that runs.
func isRunning(path string) bool {
	here, err := os.Stat(path)
	if err != nil {
		return false
	}
	self, err := os.Stat(running)
	return err == nil && os.SameFile(here, self)
}

// isReplaced reports whether there is another program at path than the one that runs. why: there is none at all.
func isReplaced(path string) (replaced bool, why string) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return false, "there is no program at " + path
	}
	return !isRunning(path), ""
}

const takeOverFlag = "--take-over"

// withoutTakeOver leaves out whom this process has taken over.
func withoutTakeOver(args []string) []string {
	var rest []string
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == takeOverFlag:
			i++
		case strings.HasPrefix(args[i], takeOverFlag+"="):
		default:
			rest = append(rest, args[i])
		}
	}
	return rest
}

// command returns the command that starts a successor, which takes over the sluice that is asked at socket. It is in a
// session of its own: what is sent to this one's group must not end it.
func (l *launch) command(program, socket string) *exec.Cmd {
	return &exec.Cmd{
		Path: program, Args: slices.Concat([]string{program}, l.args, []string{takeOverFlag, socket}),
		Env:    systemd.Handed(os.Environ()),
		Stdout: os.Stdout, Stderr: os.Stderr,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
}

var (
	errPID1 = errors.New("this sluice is process 1 of its container, which ends with it: start a second container that shares " +
		"the folder of the control socket, with run --take-over SOCKET and the same configuration")
	errNoProgram = errors.New("it is not known from which file this sluice was started: give one with --binary PATH")
)

// programOf returns the program of a successor: binary, or that which has started this process.
func (l *launch) programOf(binary string) (string, error) {
	switch {
	case os.Getpid() == 1:
		return "", errPID1
	case binary == "" && l.program == "":
		return "", errNoProgram
	case binary == "":
		return l.program, nil
	case !filepath.IsAbs(binary):
		return "", errors.New("give the absolute path of the program: sluice may run in another folder")
	}
	return binary, nil
}
