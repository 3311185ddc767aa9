package sysutil

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

// A socket that another process has made is known by its file: that gets owners and is removed, and no other one is.
func TestAdoptUnix(t *testing.T) {
	checkFiles(t)
	path := filepath.Join(t.TempDir(), "socket")
	made, err := ListenUnix(path, SocketFile{Mode: 0o600})
	if err != nil {
		t.Fatal(err)
	}
	defer Close(made.FD)
	text, err := json.Marshal(made.Identity())
	if err != nil {
		t.Fatal(err)
	}
	var identity SocketIdentity
	if err := json.Unmarshal(text, &identity); err != nil || !reflect.DeepEqual(identity, made.Identity()) {
		t.Fatalf("%s is read as %+v, %v", text, identity, err)
	}
	fd, err := Duplicate(made.FD)
	if err != nil {
		t.Fatal(err)
	}
	defer Close(fd)
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("a descriptor that programs inherit: %#x, %v", flags, err)
	}
	s := AdoptUnix(fd, path, identity)
	if err := s.Own(SocketFile{Mode: 0o660}); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 || !s.IsAt(path) {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	if err := s.Own(SocketFile{}); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != identity.Born.Mode {
		t.Errorf("the file has mode %v, %v, and was born with %v", info.Mode(), err, identity.Born.Mode)
	}
	s.RemoveFile()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
	next, err := ListenUnix(path, SocketFile{})
	if err != nil {
		t.Fatal(err)
	}
	defer Close(next.FD)
	late := AdoptUnix(fd, path, identity)
	late.RemoveFile()
	if err := late.Own(SocketFile{Mode: 0o777}); err == nil || !next.IsAt(path) {
		t.Errorf("the file of another socket was touched: %v", err)
	}
}

// A socket without a file has none after it was handed on, whatever path is given.
func TestAdoptAbstract(t *testing.T) {
	checkFiles(t)
	made, err := ListenUnix("@sluice-adopt-"+filepath.Base(t.TempDir()), SocketFile{})
	if err != nil {
		t.Fatal(err)
	}
	defer Close(made.FD)
	path := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	AdoptUnix(made.FD, path, made.Identity()).RemoveFile()
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
