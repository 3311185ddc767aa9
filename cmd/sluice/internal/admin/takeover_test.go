package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/sysutil"
)

// A follower is a Control that another process can follow.
type follower struct {
	*recorder
	taken chan *net.UnixConn
}

func (f follower) Upgrade(_ context.Context, asked UpgradeRequest, by By) (Upgraded, error) {
	_, err := f.note("upgrade", asked, by)
	return Upgraded{OK: true, VersionBefore: "v1", Version: "v2", PID: 7, Sessions: 5, Left: 1, AcceptPause: .25, LongestPause: .125, Seconds: 1.5}, err
}

func (f follower) LastUpgrade() *UpgradeStatus {
	return &UpgradeStatus{OK: true, FromVersion: "v1", Sessions: 5, Left: 1, Ended: 1, Returned: 2}
}

func (f follower) TakeOver(c *net.UnixConn, by By) error {
	f.note("take over", by)
	f.taken <- c
	return nil
}

// TestTakeOver: the connection is the Control's alone then. Whatever is spoken on it comes whole, it has no place any more,
// and nothing that ends the API ends it.
func TestTakeOver(t *testing.T) {
	f := follower{new(recorder), make(chan *net.UnixConn, 1)}
	o := options(newPool(t, "web", "a"))
	o.Control = f
	s, _, socket := serve(t, o)
	ours, err := TakeOver(t.Context(), socket.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	theirs := <-f.taken
	defer theirs.Close()
	if want := []any{"take over", By{User: me(t)}}; !reflect.DeepEqual(f.asked, want) {
		t.Errorf("asked for %v, want %v", f.asked, want)
	}
	p := s.servers[1].places
	eventually(t, "the connection has no place", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.open) == 0 })
	if err := s.Pause(t.Context()); err != nil {
		t.Error(err)
	}
	s.Close(t.Context())
	say := func(from, to net.Conn, text string) {
		t.Helper()
		_ = to.SetReadDeadline(time.Now().Add(patient))
		if _, err := io.WriteString(from, text); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
			t.Errorf("%q comes as %q, %v", text, got, err)
		}
	}
	say(ours, theirs, "hello")
	say(theirs, ours, strings.Repeat("welcome", 1000))
}

// TestTakeOverIsRefused: who may not, who does not say what for, and where it cannot be.
func TestTakeOverIsRefused(t *testing.T) {
	o := options(newPool(t, "web", "a"))
	o.Control = new(recorder) // it has no successor
	_, _, socket := serve(t, o)
	f := func(at *client, want int) {
		t.Helper()
		refusal := new(Refusal)
		if c, err := TakeOver(t.Context(), at.addr.String()); !errors.As(err, &refusal) || refusal.Status != want || refusal.Message == "" {
			t.Errorf("%v, %v, want status %d", c, err, want)
		}
	}
	f(socket, http.StatusNotFound)
	if answer, _ := socket.do("POST", upgradePath); answer.StatusCode != http.StatusNotFound {
		t.Errorf("an upgrade without a successor: %s", answer.Status)
	}
	o.Control = follower{new(recorder), nil}
	_, tcp, socket := serve(t, o)
	for _, c := range []*client{tcp, socket} {
		want := map[*client]int{tcp: http.StatusMethodNotAllowed, socket: http.StatusUpgradeRequired}[c]
		answer, body := c.do("POST", takeOverPath)
		if answer.StatusCode != want || c == socket && answer.Header.Get("Upgrade") != handoffProtocol {
			t.Errorf("%s %v %s, want %d", answer.Status, answer.Header, body, want)
		}
	}
	if answer, body := socket.send("POST", takeOverPath, "{}"); answer.StatusCode != http.StatusBadRequest {
		t.Errorf("with a body: %s %s", answer.Status, body)
	}
	if os.Getuid() == 0 {
		path := socket.addr.String()
		if err := errors.Join(os.Chmod(path, 0o666), os.Chmod(filepath.Dir(filepath.Dir(path)), 0o755)); err != nil {
			t.Fatal(err)
		}
		asNobody(t, func() { f(socket, http.StatusForbidden) })
	}
}

// TestUpgradeOfAnybody: whom the control socket is open to may have the program started anew that is there. Which one it is
// they may not say: it would be theirs, and run as the user that sluice runs as.
func TestUpgradeOfAnybody(t *testing.T) {
	f := follower{new(recorder), nil}
	o := options(newPool(t, "web", "a"))
	o.Control = f
	_, _, socket := serve(t, o)
	path := socket.addr.String()
	if err := errors.Join(os.Chmod(path, 0o666), os.Chmod(filepath.Dir(filepath.Dir(path)), 0o755)); err != nil {
		t.Fatal(err)
	}
	ask := func(body string, want int) {
		t.Helper()
		f.asked = nil
		c := dial(t, socket.addr)
		say(t, c, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: sluice\r\nContent-Length: %d\r\n\r\n%s", upgradePath, len(body), body))
		_ = c.SetReadDeadline(time.Now().Add(patient))
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || answer.StatusCode != want || (f.asked == nil) != (want != http.StatusOK) {
			t.Errorf("%s: %v, %v, want %d; asked for %v", body, answer, err, want, f.asked)
		}
	}
	if os.Getuid() == 0 { // else there is nobody to be
		asNobody(t, func() {
			ask(`{"binary": "/tmp/mine"}`, http.StatusForbidden)
			ask(`{}`, http.StatusOK)
		})
	}
	ask(`{"binary": "/usr/bin/sluice"}`, http.StatusOK)
}

func TestMayBeSluice(t *testing.T) {
	f := func(uid, own uint32, may bool) {
		t.Helper()
		if mayBeSluice(uid, own) != may {
			t.Errorf("uid %d of a process of %d: %t, want %t", uid, own, !may, may)
		}
	}
	f(0, 0, true)
	f(0, 7, true)
	f(7, 7, true)
	f(7, 0, false)
	f(7, 8, false)
}

// asNobody does something as another user, on a thread of its own: credentials belong to threads, see credentials(7).
func asNobody(t *testing.T, do func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const same = ^uintptr(0)
	become := func(uid uintptr) {
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, same, uid, same); errno != 0 {
			t.Fatal(errno)
		}
	}
	become(65534)
	defer become(0)
	do()
}

// TestTakeOverAsksInVain: what is no sluice, or says nothing, is no connection that is taken over.
func TestTakeOverAsksInVain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f := func(ctx context.Context, answer, want string) {
		t.Helper()
		done := make(chan bool)
		go func() {
			defer close(done)
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(c, answer)
			if answer == "" {
				_, _ = c.Read(make([]byte, 1)) // until the other side gives up
			}
		}()
		if c, err := TakeOver(ctx, path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v, want %q", answer, c, err, want)
		}
		<-done
	}
	f(t.Context(), "SSH-2.0\r\n", "EOF")
	f(t.Context(), "SSH-2.0\r\n\r\n", "malformed")
	f(t.Context(), strings.Repeat("x", maxHead+1), "does not end")
	f(t.Context(), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "200")
	late, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	f(late, "", "deadline exceeded")
	if _, err := TakeOver(t.Context(), path+"x"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("nothing is there: %v", err)
	}
}

// TestWhoSpeaksFirst: bytes that came before the answer would be lost to the Control.
func TestWhoSpeaksFirst(t *testing.T) {
	f := follower{new(recorder), make(chan *net.UnixConn, 1)}
	o := options(newPool(t, "web", "a"))
	o.Control = f
	_, _, socket := serve(t, o)
	c := dial(t, socket.addr)
	_, err := io.WriteString(c, "POST "+takeOverPath+" HTTP/1.1\r\nHost: sluice\r\nUpgrade: "+handoffProtocol+"\r\n\r\nhello")
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patient))
	if text, err := io.ReadAll(c); err != nil || string(text) != switching || len(f.taken) != 0 {
		t.Errorf("answered with %q, %v", text, err)
	}
}

// TestUpgrade: it is asked of the Control, and its answer comes also when the process ends right after.
func TestUpgrade(t *testing.T) {
	f := follower{new(recorder), nil}
	o := options(newPool(t, "web", "a"))
	o.Control = f
	s, tcp, socket := serve(t, o)
	_, check := description(t, socket)
	answer, body := socket.send("POST", upgradePath, `{"binary": "/usr/bin/sluice", "if_replaced": true}`)
	check("POST", upgradePath, answer, body)
	expectJSON(t, "the answer", body, `{"ok": true, "version_before": "v1", "version": "v2", "pid": 7, "sessions": 5, "left": 1,
		"accept_pause_seconds": 0.25, "longest_pause_seconds": 0.125, "seconds": 1.5}`)
	if want := []any{"upgrade", UpgradeRequest{"/usr/bin/sluice", true}, By{User: me(t)}}; !reflect.DeepEqual(f.asked, want) {
		t.Errorf("asked for %v, want %v", f.asked, want)
	}
	for c, want := range map[*client]int{tcp: http.StatusMethodNotAllowed, socket: http.StatusBadRequest} {
		if answer, _ := c.do("POST", upgradePath+"?dry_run=true"); answer.StatusCode != want {
			t.Errorf("a dry run: %s, want %d", answer.Status, want)
		}
	}
	f.err = Conflictf("one is under way")
	if answer, body := socket.do("POST", upgradePath); answer.StatusCode != http.StatusConflict || !strings.Contains(body, "under way") {
		t.Errorf("a conflict: %s %s", answer.Status, body)
	}

	c := dial(t, socket.addr) // what is asked next on its connection is waited for again
	say(t, c, "POST "+upgradePath+" HTTP/1.1\r\nHost: sluice\r\nContent-Length: 0\r\n\r\n")
	_ = c.SetReadDeadline(time.Now().Add(patient))
	if answer, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || answer.StatusCode != http.StatusConflict {
		t.Fatalf("%+v, %v", answer, err)
	}
	eventually(t, "its connection counts", func() bool { return s.servers[1].places.answering() == 1 })
	c.Close()

	f.err, f.step = nil, make(chan struct{})
	var got Upgraded
	done := make(chan error)
	go func() {
		_, err := Fetch(t.Context(), socket.addr.String(), Request{Method: "POST", Path: upgradePath}, &got)
		done <- err
	}()
	eventually(t, "it is asked", func() bool { return f.now.Load() == 1 })
	if err := s.Pause(t.Context()); err != nil { // it does not wait for that answer
		t.Error(err)
	}
	closed := make(chan bool)
	go func() { defer close(closed); s.Close(t.Context()) }()
	eventually(t, "the socket's file is gone", func() bool { _, err := os.Lstat(socket.addr.String()); return err != nil })
	f.step <- struct{}{}
	if err := <-done; err != nil || got.PID != 7 {
		t.Errorf("the answer is %+v, %v", got, err)
	}
	<-closed
}

// TestHandedListenersTellUsers: who is at the other end is known, whichever process has made the socket.
func TestHandedListenersTellUsers(t *testing.T) {
	l, err := ListenSocket(filepath.Join(t.TempDir(), "s.sock"), sysutil.SocketFile{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fd, file, err := Hand(l)
	if err != nil {
		t.Fatal(err)
	}
	adopted, err := Adopt(fd, "", file)
	if err != nil {
		t.Fatal(err)
	}
	f := follower{new(recorder), make(chan *net.UnixConn, 1)}
	o := options(newPool(t, "web", "a"))
	o.Control = f
	s := New(o)
	s.ServeSocket(adopted)
	defer s.Close(t.Context())
	c, err := TakeOver(t.Context(), adopted.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	(<-f.taken).Close()
	if want := []any{"take over", By{User: me(t)}}; !reflect.DeepEqual(f.asked, want) {
		t.Errorf("asked for %v, want %v", f.asked, want)
	}
}
