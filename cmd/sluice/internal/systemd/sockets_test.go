package systemd

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// service starts this binary as a service manager would, with files from descriptor 3 on, and returns what it says. The
// shell knows the number of the process before it is the service: $$ in the environment stands for it.
func service(t *testing.T, files []*os.File, env ...string) (r report) {
	t.Helper()
	script := "export"
	for _, variable := range env {
		script += ` "` + variable + `"`
	}
	cmd := exec.Command("/bin/sh", "-c", script+` TEST_IS_SERVICE=1; exec "$0"`, os.Args[0])
	cmd.ExtraFiles = files
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return r
}

// file returns a listener's descriptor, for another process.
func file(t *testing.T, l interface{ File() (*os.File, error) }) *os.File {
	t.Helper()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestSockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.sock")
	tcp, unix := listen(t, "tcp", "127.0.0.1:0").(*net.TCPListener), listen(t, "unix", path).(*net.UnixListener)
	r := service(t, []*os.File{file(t, tcp), file(t, unix)}, "LISTEN_PID=$$", "LISTEN_FDS=2", "LISTEN_FDNAMES=https:web.socket")
	if r.Error != "" || len(r.Left) > 0 || len(r.Sockets) != 2 {
		t.Fatalf("got %+v", r)
	}
	if s := r.Sockets[0]; s.Name != "https" || s.FD != 3 || s.TCP.String() != tcp.Addr().String() || s.Unix != "" {
		t.Errorf("got %+v", s)
	}
	if s := r.Sockets[1]; s.Name != "web.socket" || s.FD != 4 || s.Unix != path || s.TCP.IsValid() {
		t.Errorf("got %+v", s)
	}
	if want := []string{tcp.Addr().String(), "unix:" + path}; !slices.Equal(r.Addresses, want) {
		t.Errorf("addresses are %v, want %v", r.Addresses, want)
	}
}

func TestSocketsWithoutNames(t *testing.T) {
	l := listen(t, "tcp", "[::]:0").(*net.TCPListener) // in Go this is both families
	r := service(t, []*os.File{file(t, l)}, "LISTEN_PID=$$", "LISTEN_FDS=1")
	if r.Error != "" || len(r.Sockets) != 1 || r.Sockets[0].Name != "unknown" {
		t.Fatalf("got %+v", r)
	}
	if _, port, _ := net.SplitHostPort(l.Addr().String()); r.Addresses[0] != ":"+port {
		t.Errorf("address is %s, want :%s", r.Addresses[0], port)
	}
}

func TestSocketsOfAnotherProcess(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0").(*net.TCPListener)
	for _, env := range [][]string{
		{"LISTEN_PID=$PPID", "LISTEN_FDS=1", "LISTEN_FDNAMES=x"},
		{"LISTEN_FDS=1"},
		{"LISTEN_PID=$$"},
		{"LISTEN_PID=$$", "LISTEN_FDS=0"},
		nil,
	} {
		if r := service(t, []*os.File{file(t, l)}, env...); r.Error != "" || len(r.Sockets) > 0 || len(r.Left) > 0 {
			t.Errorf("%v: got %+v", env, r)
		}
	}
}

func TestWrongSockets(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0").(*net.TCPListener)
	datagram, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer datagram.Close()
	connected, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connected.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	files := []*os.File{file(t, l), file(t, datagram.(*net.UDPConn)), file(t, connected.(*net.TCPConn)), null}
	const ours = "LISTEN_PID=$$"
	for _, c := range []struct {
		env  []string
		want []string
	}{
		{[]string{ours, "LISTEN_FDS=4", "LISTEN_FDNAMES=a:b:c:d"}, []string{
			`descriptor 4 under the name "b": it is not a stream socket; only sockets of ListenStream= without Accept=yes`,
			`descriptor 5 under the name "c": it does not listen`, `descriptor 6 under the name "d": it is not a socket`,
		}},
		{[]string{ours, "LISTEN_FDS=50"}, []string{`descriptor 52 under the name "unknown": `}},
		{[]string{"LISTEN_PID=me", "LISTEN_FDS=1"}, []string{`LISTEN_PID="me": it must be a number`}},
		{[]string{ours, "LISTEN_FDS=-1"}, []string{`LISTEN_FDS="-1": it must be a number of descriptors`}},
		{[]string{ours, "LISTEN_FDS=many"}, []string{`LISTEN_FDS="many"`}},
		{[]string{ours, "LISTEN_FDS=1", "LISTEN_FDNAMES=a:b"}, []string{
			`LISTEN_FDNAMES="a:b": there are 1 descriptors (LISTEN_FDS), and 2 names`,
		}},
	} {
		r := service(t, files, c.env...)
		for _, want := range c.want {
			if !strings.Contains(r.Error, want) {
				t.Errorf("%v: got %q, want %q in it", c.env, r.Error, want)
			}
		}
		if strings.Contains(r.Error, "descriptor 3 ") || strings.Contains(r.Error, "again") || len(r.Left) > 0 {
			t.Errorf("%v: got %+v", c.env, r)
		}
	}
}

func TestWatchdogOfAService(t *testing.T) {
	const socket = "NOTIFY_SOCKET=/run/notify"
	for _, c := range []struct {
		env         []string
		every, fail string
	}{
		{env: []string{socket, "WATCHDOG_USEC=3000000", "WATCHDOG_PID=$$"}, every: "1.5s"},
		{env: []string{socket, "WATCHDOG_USEC=3000000"}, every: "1.5s"},
		{env: []string{socket, "WATCHDOG_USEC=3000000", "WATCHDOG_PID=$PPID"}, every: "0s"},
		{env: []string{socket}, every: "0s"},
		{env: []string{"WATCHDOG_USEC=3000000"}, every: "0s"},
		{env: []string{socket, "WATCHDOG_USEC=soon"}, fail: `WATCHDOG_USEC="soon": it must be a number of microseconds`},
		{env: []string{socket, "WATCHDOG_USEC=0"}, fail: `WATCHDOG_USEC="0"`},
		{env: []string{socket, "WATCHDOG_USEC=9223372036854775807"}, fail: "WATCHDOG_USEC="},
		{env: []string{socket, "WATCHDOG_USEC=1", "WATCHDOG_PID=me"}, fail: `WATCHDOG_PID="me": it must be a number`},
	} {
		r := service(t, nil, c.env...)
		if r.Watchdog != c.every || !strings.Contains(r.Error, c.fail) || (c.fail == "") != (r.Error == "") {
			t.Errorf("%v: got %+v", c.env, r)
		}
	}
}
