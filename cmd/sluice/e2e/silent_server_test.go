package e2e

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// serveConns runs a server that is part of the test, and returns its address.
func serveConns(t *testing.T, listener net.Listener, serve func(net.Conn)) string {
	t.Helper()
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return // closed
			}
			sessions.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		sessions.Wait()
	})
	return listener.Addr().String()
}

// listenHere returns a listener at a free port.
func listenHere(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// silentName is the name of the server that speaks TLS, and sends back what it gets.
const silentName = "silent.test"

// startSilentTLS runs the server, and returns its address.
func startSilentTLS(t *testing.T, a *authority) string {
	t.Helper()
	c := a.issue("silent", silentName)
	pair, err := tls.LoadX509KeyPair(c.file, c.key)
	if err != nil {
		t.Fatal(err)
	}
	listener := tls.NewListener(listenHere(t), &tls.Config{Certificates: []tls.Certificate{pair}})
	return serveConns(t, listener, func(c net.Conn) { _, _ = io.Copy(c, c) }) // the client looks at what comes back
}

// silentTLSWorks checks that a client reaches the server through an address.
func silentTLSWorks(t *testing.T, r *silentRig, address string) {
	t.Helper()
	c := tls.Client(dialFrom(t, "127.0.0.1", address, ""),
		&tls.Config{ServerName: silentName, RootCAs: r.authority.pool})
	expectEcho(t, c)
	c.Close()
}

const greeting = "220 speak\r\n"

// startGreeter runs a server that speaks first, and returns its address.
func startGreeter(t *testing.T) string {
	t.Helper()
	return serveConns(t, listenHere(t), func(c net.Conn) {
		_, _ = io.WriteString(c, greeting) // the client looks at what it gets
	})
}

// startFakePostgres runs a server that lets everybody in who speaks in clear, and returns its address.
func startFakePostgres(t *testing.T) string {
	t.Helper()
	return serveConns(t, listenHere(t), func(c net.Conn) {
		b := pgproto3.NewBackend(c, c)
		if _, err := b.ReceiveStartupMessage(); err != nil {
			return // the client finds out
		}
		b.Send(&pgproto3.AuthenticationOk{})
		b.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{1, 2, 3, 4}})
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		if b.Flush() != nil {
			return
		}
		_, _ = b.Receive() // Terminate, or the end
	})
}
