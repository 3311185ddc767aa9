package probe

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pires/go-proxyproto"
)

// testRelayed: a PROXY header comes before anything else, and together with it.
func testRelayed(t *testing.T, c *cluster) {
	f := func(version uint8, sslmode, rest string) {
		t.Helper()
		headers := make(chan *proxyproto.Header, 10)
		a, reports := serve(t, nil, afterHeader(headers, relayTo(c)))
		config := as("sluice", sslmode)
		config.ProxyVersion = version
		if _, err := askOnce(t, config, a); err != nil {
			t.Errorf("version %d, sslmode %s: %v", version, sslmode, err)
		}
		wantHeader(t, <-headers, version, false)
		if first := report(t, reports).first; !strings.Contains(string(first), rest) {
			t.Errorf("version %d, sslmode %s: %q did not come with the header, but %q", version, sslmode, rest, first)
		}
	}
	for _, version := range []uint8{1, 2} {
		f(version, "disable", "application_name\x00sluice\x00")
		f(version, "require", string(sslRequest))
	}
}

// relayTo returns a handler that connects its client with a server.
func relayTo(c *cluster) func(net.Conn) error {
	return func(conn net.Conn) error {
		server, err := net.Dial("tcp", c.address().TCP.String())
		if err != nil {
			return err
		}
		defer server.Close()
		go func() { _, _ = io.Copy(conn, server) }()
		_, err = io.Copy(server, conn)
		return err
	}
}

// startup returns a handler that refuses TLS, takes the start-up packet, and goes on with lines.
func startup(lines ...string) func(net.Conn) error {
	return func(conn net.Conn) error {
		var length [4]byte
		for range 2 {
			if _, err := io.ReadFull(conn, length[:]); err != nil {
				return err
			}
			packet := make([]byte, int(length[2])<<8+int(length[3])-4)
			if _, err := io.ReadFull(conn, packet); err != nil {
				return err
			}
			if len(packet) > 4 {
				return dialogue(lines...)(conn)
			}
			if _, err := conn.Write([]byte("N")); err != nil {
				return err
			}
		}
		return errors.New("no start-up packet")
	}
}

// message returns a message of the Postgres protocol.
func message(kind byte, body string) string {
	n := len(body) + 4
	return string([]byte{kind, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) + body
}

func TestPostgresOdd(t *testing.T) {
	f := func(handle func(net.Conn) error, sslmode string, words ...string) {
		t.Helper()
		a, _ := serve(t, nil, handle)
		if err := askUntilError(t, newProber(t, as("sluice", sslmode), a), words...); len(err.Error()) > 400 {
			t.Errorf("%d bytes of error: %v", len(err.Error()), err)
		}
	}
	closing := func(conn net.Conn) error { return conn.Close() }
	ready := message('R', "\x00\x00\x00\x00") + message('Z', "I")
	asked := "< " + message('Q', question+"\x00")
	f(closing, "disable", `log in as "sluice": `)
	f(closing, "require", "ask for TLS: ")
	f(silent, "disable", `log in as "sluice": no answer in time`)
	f(silent, "prefer", "ask for TLS: no answer in time")
	f(startup(), "require", "the server offers no TLS")
	f(dialogue("HTTP/1.1 400 Bad Request\r\n\r\n"), "prefer", `ask for TLS: got "H", want S or N`)
	f(dialogue("HTTP/1.1 400 Bad Request\r\n\r\n"), "disable", `log in as "sluice": `)
	f(dialogue("SSH-2.0-x\r\n"), "prefer", "TLS handshake", "without TLS")
	f(startup(message('E', "SFATAL\x00C57P03\x00Mthe database system\nis starting up\x00\x00")), "prefer",
		`log in as "sluice": FATAL: the database system is starting up (57P03)`)
	f(startup(ready, asked, message('C', "SELECT 0\x00")+message('Z', "I")), "prefer",
		"query: an answer of another form than expected")
	f(startup(ready, asked, message('E', "SERROR\x00C42501\x00Mpermission denied\x00\x00")+message('Z', "I")), "prefer",
		"query: ERROR: permission denied (42501)")
	f(startup(ready), "prefer", "query: no answer in time")
}

// TestPostgresSaysUnavailable: not any failure is the server's word that it takes no sessions.
func TestPostgresSaysUnavailable(t *testing.T) {
	ready := message('R', "\x00\x00\x00\x00") + message('Z', "I")
	f := func(code string, want bool) {
		t.Helper()
		word := message('E', "SFATAL\x00C"+code+"\x00Mno\x00\x00")
		for _, lines := range [][]string{{word}, {ready, "< " + message('Q', question+"\x00"), word}} {
			a, _ := serve(t, nil, startup(lines...))
			_, err := ask(t, newProber(t, as("sluice", "prefer"), a))
			if err == nil || Unavailable(err) != want {
				t.Errorf("%v: unavailable is %t", err, Unavailable(err))
			}
		}
	}
	f("57P01", true)
	f("57P02", true)
	f("57P03", true)
	f("57P05", false)
	f("53300", false)
}

func TestPostgresParseAnswer(t *testing.T) {
	row := func(values ...string) []*pgconn.Result {
		r := &pgconn.Result{Rows: [][][]byte{make([][]byte, len(values))}}
		for i, v := range values {
			if v != "null" {
				r.Rows[0][i] = []byte(v)
			}
		}
		return []*pgconn.Result{r}
	}
	f := func(answer []*pgconn.Result, want DatabaseAnswer) {
		t.Helper()
		if got, err := parseAnswer(answer); err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	f(row("f", "7", "0000000A0000000100000002", "null", "null", "null"),
		DatabaseAnswer{Primary: true, System: 7, Timeline: 10})
	f(row("f", "-1", "FFFFFFFF0000000100000002", "18446744073709551615", "null", "null"), DatabaseAnswer{
		Primary: true, System: 1<<64 - 1, Timeline: 1<<32 - 1, Has: 1<<64 - 1, Whole: 1<<64 - 1})
	f(row("t", "7", "null", "null", "null", "null"), DatabaseAnswer{System: 7})
	f(row("t", "7", "12", "900", "800", "null"), DatabaseAnswer{System: 7, Timeline: 12, Has: 900, Whole: 900, Replayed: 800})
	f(row("t", "7", "null", "900", "900", "1500000"), DatabaseAnswer{
		System: 7, Has: 900, Whole: 900, Replayed: 900, AgeKnown: true, Age: 1500 * time.Millisecond})
	f(row("t", "7", "null", "900", "900", "-20"), DatabaseAnswer{
		System: 7, Has: 900, Whole: 900, Replayed: 900, AgeKnown: true})
	// A record may reach across the end of a page.
	f(row("t", "7", "null", "819200", "810000", "null"), DatabaseAnswer{
		System: 7, Has: 819200, Whole: 810000, Replayed: 810000})
	f(row("f", "7", "0000000A0000000100000002", "819200", "null", "null"), DatabaseAnswer{
		Primary: true, System: 7, Timeline: 10, Has: 819200, Whole: 753664})
	f(row("f", "7", "0000000A0000000100000002", "8192", "null", "null"), DatabaseAnswer{
		Primary: true, System: 7, Timeline: 10, Has: 8192})

	odd := func(answer []*pgconn.Result) {
		t.Helper()
		if got, err := parseAnswer(answer); err == nil {
			t.Errorf("%+v and no error", got)
		}
	}
	odd(nil)
	odd(row("f"))
	odd(row("f", "null", "000000010000000100000002", "1", "null", "null"))
	odd(row("f", "7", "null", "1", "null", "null"))
	odd(row("f", "7", "xxxxxxxx0000000100000002", "1", "null", "null"))
	odd(row("f", "7", "000000010000000100000002", "1/2", "null", "null"))
	odd(row("t", "7", "null", "1", "-1", "null"))
	odd(row("t", "7", "null", "1", "1", "soon"))
	odd(row("t", "7", "0000000A0000000100000002", "1", "1", "0"))
}
