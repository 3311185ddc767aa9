package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// A peer is a client's connection. conn is nil when it was reset so early that not even connect saw it open.
type peer struct{ conn *net.TCPConn }

func peerOf(ts *testscript.TestScript, name string) *peer {
	p := worldOf(ts).peers[name]
	if p == nil {
		ts.Fatalf("no connection %s", name)
	}
	return p
}

// cmdEchoServer starts a backend that sends back what it receives, and puts its address into a variable.
func cmdEchoServer(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "echoserver VARIABLE")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	ts.Setenv(args[0], l.Addr().String())
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn) // until the client is done, or gone
			}()
		}
	}()
}

// cmdDeadPort puts an address into a variable at which connections are refused: the port is taken, but nobody listens.
func cmdDeadPort(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "deadport VARIABLE")
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	ts.Check(err)
	ts.Defer(func() { _ = syscall.Close(fd) })
	ts.Check(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	address, err := syscall.Getsockname(fd)
	ts.Check(err)
	ts.Setenv(args[0], "127.0.0.1:"+strconv.Itoa(address.(*syscall.SockaddrInet4).Port))
}

// cmdDial connects; with "!" it waits until connections are refused.
func cmdDial(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 2, "[!] dial NAME ADDRESS")
	if neg {
		eventually(ts, func() error { return refused(args[1]) })
		return
	}
	conn, err := net.DialTimeout("tcp", args[1], patience)
	if errors.Is(err, syscall.ECONNRESET) {
		worldOf(ts).peers[args[0]] = &peer{}
		return
	}
	ts.Check(err)
	ts.Check(conn.SetDeadline(time.Now().Add(patience)))
	ts.Defer(func() { _ = conn.Close() })
	worldOf(ts).peers[args[0]] = &peer{conn.(*net.TCPConn)}
}

// refused returns nil when nobody listens at address.
func refused(address string) error {
	conn, err := net.DialTimeout("tcp", address, patience)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err == nil {
		_ = conn.Close()
	}
	return fmt.Errorf("connect to %s: %v, want it refused", address, err)
}

// cmdSend sends text, in which \r, \n and \x00 stand for what they do in Go, as often as is said.
func cmdSend(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && (len(args) == 2 || len(args) == 3), "send NAME TEXT [TIMES]")
	text, err := strconv.Unquote(`"` + args[1] + `"`)
	ts.Check(err)
	times := 1
	if len(args) == 3 {
		times, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	conn := peerOf(ts, args[0]).conn
	if conn == nil {
		return
	}
	_, err = io.WriteString(conn, strings.Repeat(text, times))
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) { // closed is to find that
		ts.Check(err)
	}
}

// cmdExpect reads exactly this text.
func cmdExpect(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "expect NAME TEXT")
	got := make([]byte, len(args[1]))
	n, err := io.ReadFull(peerOf(ts, args[0]).conn, got)
	if err != nil || string(got) != args[1] {
		ts.Fatalf("%s received %q (%v), want %q", args[0], got[:n], err, args[1])
	}
}

// cmdClosed waits until the other side has closed or reset the connection.
func cmdClosed(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "closed NAME")
	conn := peerOf(ts, args[0]).conn
	if conn == nil {
		return
	}
	n, err := conn.Read(make([]byte, 1))
	if n > 0 || !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		ts.Fatalf("%s: read %d bytes, %v; want the end of the connection", args[0], n, err)
	}
}

// cmdHangup closes a client's connection in good order.
func cmdHangup(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "hangup NAME")
	ts.Check(peerOf(ts, args[0]).conn.Close())
}
