package health

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"sluice/health/probe"
	"sluice/pool"
)

// unavailable returns the error of a real probe of a Postgres server that starts: SQLSTATE 57P03.
func unavailable(t *testing.T) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			refuseLogin(conn)
		}
	}()
	p, err := probe.New(probe.Config{
		Kind: probe.Postgres, Postgres: probe.PostgresConfig{User: "sluice", Database: "postgres", SSLMode: "disable"},
	}, pool.Address{TCP: l.Addr().(*net.TCPAddr).AddrPort()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err = p.Probe(ctx); !probe.Unavailable(err) {
		t.Fatalf("the probe of a server that starts: %v", err)
	}
	return err
}

// refuseLogin reads a start-up packet and answers it with an error.
func refuseLogin(conn net.Conn) {
	defer conn.Close()
	var length [4]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return
	}
	if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(length[:])-4)); err != nil {
		return
	}
	fields := "SFATAL\x00VFATAL\x00C57P03\x00Mthe database system is starting up\x00\x00"
	answer := append([]byte{'E'}, binary.BigEndian.AppendUint32(nil, uint32(4+len(fields)))...)
	_, _ = conn.Write(append(answer, fields...))
}
