package sysutil

import (
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPIDFile(t *testing.T) {
	own, err := PIDFile()
	if err != nil {
		t.Fatal(err)
	}
	closing(t, own)
	flags, err := unix.FcntlInt(uintptr(own), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v: not CLOEXEC", flags, err)
	}
	if err := unix.PidfdSendSignal(own, 0, nil, 0); err != nil {
		t.Errorf("signal to the pidfd: %v", err)
	}
	if Exited(own, 0) || Exited(own, 10*time.Millisecond) {
		t.Error("this process has ended")
	}
}

func TestExited(t *testing.T) {
	child := exec.Command("sleep", "1000")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(child.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, fd)
	for _, wait := range []time.Duration{-1, 0, 10 * time.Millisecond} {
		if Exited(fd, wait) {
			t.Error("a process that lives has ended")
		}
	}
	ended := make(chan bool)
	go func() { ended <- Exited(fd, patient) }()
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if !<-ended {
		t.Error("a process that was killed lives")
	}
	if !Exited(fd, 0) { // nobody has waited for it
		t.Error("a zombie lives")
	}
	_ = child.Wait() // the error says that it was killed
	if !Exited(fd, 0) {
		t.Error("a process that was waited for lives")
	}
	if Exited(-1, 0) {
		t.Error("no descriptor has ended")
	}
}
