package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// clientConninfo is how a client in Go connects to an address. It waits for as long as its context lets it.
func clientConninfo(address, sslmode string) string {
	host, port, _ := strings.Cut(address, ":")
	return fmt.Sprintf("host=%s port=%s user=postgres dbname=postgres sslmode=%s connect_timeout=0", host, port, sslmode)
}

// connect opens a connection that is closed when the test is over.
func connect(t *testing.T, address, sslmode string) *pgconn.PgConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	c, err := pgconn.Connect(ctx, clientConninfo(address, sslmode))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// connectTo opens connections until one leads to the server that is wanted. Those that do not stay open too, so that
// least_conn looks elsewhere.
func connectTo(t *testing.T, address string, m *member) *pgconn.PgConn {
	t.Helper()
	for range 20 {
		if c := connect(t, address, "disable"); serverPort(t, c) == m.port {
			return c
		}
	}
	t.Fatalf("none of 20 connections leads to %s", m.name)
	return nil
}

// serverPort asks which server a connection leads to.
func serverPort(t *testing.T, c *pgconn.PgConn) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	results, err := c.Exec(ctx, "select inet_server_port()").ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(string(results[0].Rows[0][0]))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// expectServer checks that a connection works and leads to a server.
func expectServer(t *testing.T, c *pgconn.PgConn, want *member) {
	t.Helper()
	if got := serverPort(t, c); got != want.port {
		t.Errorf("a connection leads to the server at %d, want %s at %d", got, want.name, want.port)
	}
}
