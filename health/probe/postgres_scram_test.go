package probe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"testing/iotest"
)

// scram returns a handler that asks for SCRAM with so many rounds, and sends to answered whether the client made them.
func scram(rounds string, answered chan<- bool) func(net.Conn) error {
	return func(conn net.Conn) error {
		defer conn.Close()
		made := false
		defer func() { answered <- made }()
		packet := func(head int) ([]byte, error) {
			header := make([]byte, head+4)
			if _, err := io.ReadFull(conn, header); err != nil {
				return nil, err
			}
			body := make([]byte, binary.BigEndian.Uint32(header[head:])-4)
			_, err := io.ReadFull(conn, body)
			return body, err
		}
		if _, err := packet(0); err != nil {
			return err
		}
		_, _ = io.WriteString(conn, message('R', "\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00"))
		first, err := packet(1)
		if err != nil {
			return err
		}
		_, nonce, _ := bytes.Cut(first, []byte(",r="))
		_, _ = io.WriteString(conn, message('R', "\x00\x00\x00\x0br="+string(nonce)+"x,s=AAAAAAAAAAAAAAAAAAAAAA==,i="+rounds))
		proof, err := packet(1)
		made = err == nil && len(proof) > 0 // who takes leave says nothing more
		return err
	}
}

// TestPostgresScramRounds: a server that asks for very many does not get them, since nothing could end that work.
func TestPostgresScramRounds(t *testing.T) {
	f := func(rounds string, want bool) {
		t.Helper()
		answered := make(chan bool, 1)
		a, _ := serve(t, nil, scram(rounds, answered))
		_, err := askOnce(t, as("sluice", "disable"), a)
		if made := <-answered; made != want || err == nil || errors.Is(err, errScramRounds) == want {
			t.Errorf("%s rounds: made: %v, %v", rounds, made, err)
		}
	}
	f("4096", true)
	f("100000", true)
	f("1000000", false)
	f("+9999999", false)
}

func TestScramGuardInPieces(t *testing.T) {
	f := func(text string, want error) {
		t.Helper()
		got, err := io.ReadAll(&scramGuard{r: iotest.OneByteReader(bytes.NewReader([]byte(text)))})
		if !errors.Is(err, want) || want == nil && string(got) != text {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	f("r=a,s=b,i=999999R,i=123456", nil)
	f("r=a,,i=1234567", errScramRounds)
	f("r=a,i=,i=1234567", errScramRounds)
	f("1234567,i 1234567", nil)
}
