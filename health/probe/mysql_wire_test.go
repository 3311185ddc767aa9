package probe

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// mysql8 speaks as MySQL 8.4 does, which Debian does not have: caching_sha2_password, and other names of columns.
type mysql8 struct {
	secret  string
	full    bool // it wants the password itself
	key     *rsa.PrivateKey
	answers map[string][]string // rows of what is asked for: names, and values, with "|" between them
	net.Conn
	number byte
}

// challenge8 is what the password is mixed with.
const challenge8 = "abcdefghijklmnopqrst"

// greeting8 is a server's first packet. It offers no TLS.
func greeting8(plugin string) string {
	return "\x0a8.4.3\x00\x01\x00\x00\x00" + challenge8[:8] + "\x00\x01\xa2\x2d\x02\x00\x18\x00\x15" + strings.Repeat("\x00", 10) +
		challenge8[8:] + "\x00" + plugin + "\x00"
}

func (s *mysql8) send(payload string) {
	n := len(payload)
	_, _ = s.Write(append([]byte{byte(n), byte(n >> 8), byte(n >> 16), s.number}, payload...))
	s.number++
}

func (s *mysql8) receive() ([]byte, error) {
	var header [4]byte
	if _, err := io.ReadFull(s.Conn, header[:]); err != nil {
		return nil, err
	}
	payload := make([]byte, int(header[0])|int(header[1])<<8)
	_, err := io.ReadFull(s.Conn, payload)
	s.number = header[3] + 1
	return payload, err
}

const ok8, eof8 = "\x00\x00\x00\x02\x00\x00\x00", "\xfe\x00\x00\x02\x00"

// knows checks a client's answer as the server does, who has the password hashed twice only.
func (s *mysql8) knows(answer []byte) bool {
	once := sha256.Sum256([]byte(s.secret))
	stored := sha256.Sum256(once[:])
	mixed := sha256.Sum256(append(stored[:], challenge8...))
	for i := range mixed {
		mixed[i] ^= answer[i]
	}
	again := sha256.Sum256(mixed[:])
	return again == stored
}

func (s *mysql8) handle(conn net.Conn) error {
	session := &mysql8{secret: s.secret, full: s.full, key: s.key, answers: s.answers, Conn: conn}
	session.send(greeting8("caching_sha2_password"))
	response, err := session.receive()
	if err != nil {
		return err
	}
	_, rest, _ := bytes.Cut(response[32:], []byte{0})
	if rest[0] != 32 || !session.knows(rest[1:33]) {
		return errors.New("the client does not know the password")
	}
	if !bytes.HasSuffix(response, []byte("caching_sha2_password\x00\x14"+mysqlAttribute)) {
		return fmt.Errorf("the response is %q", response)
	}
	session.send("\x01" + string("\x03\x04"[b2i(s.full)]))
	if s.full {
		if err := session.takePassword(); err != nil {
			return err
		}
	}
	session.send(ok8)
	return session.serveQueries()
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// takePassword gives the client the key and takes the password, which is mixed with the challenge.
func (s *mysql8) takePassword() error {
	if asked, err := s.receive(); err != nil || string(asked) != "\x02" {
		return fmt.Errorf("asked %q, %w", asked, err)
	}
	der, err := x509.MarshalPKIXPublicKey(&s.key.PublicKey)
	if err != nil {
		return err
	}
	s.send("\x01" + string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	encrypted, err := s.receive()
	if err != nil {
		return err
	}
	mixed, err := rsa.DecryptOAEP(sha1.New(), nil, s.key, encrypted, nil)
	if err != nil {
		return err
	}
	for i := range mixed {
		mixed[i] ^= challenge8[i%len(challenge8)]
	}
	if string(mixed) != s.secret+"\x00" {
		return fmt.Errorf("the password is %q", mixed)
	}
	return nil
}

func (s *mysql8) serveQueries() error {
	for {
		command, err := s.receive()
		if err != nil || command[0] == mysqlQuit {
			return err
		}
		rows, known := s.answers[string(command[1:])]
		if !known {
			s.send("\xff\x28\x04#42000You have an error in your SQL syntax")
			continue
		}
		s.send(string(rune(strings.Count(rows[0], "|") + 1)))
		for name := range strings.SplitSeq(rows[0], "|") {
			s.send("\x03def\x00\x00\x00" + string(rune(len(name))) + name)
		}
		s.send(eof8)
		for _, row := range rows[1:] {
			var payload string
			for value := range strings.SplitSeq(row, "|") {
				if value == "NULL" {
					payload += "\xfb"
				} else {
					payload += string(rune(len(value))) + value
				}
			}
			s.send(payload)
		}
		s.send(eof8)
	}
}

const (
	askVariables = "SHOW GLOBAL VARIABLES WHERE Variable_name IN " +
		"('read_only', 'super_read_only', 'innodb_read_only', 'offline_mode', 'server_id', 'wsrep_on')"
	askWsrep = "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_ready', 'wsrep_local_state', 'wsrep_local_state_comment')"
)

func TestMySQL8(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	f := func(full bool, want DatabaseAnswer, answers map[string][]string) {
		t.Helper()
		s := &mysql8{secret: password, full: full, key: key, answers: answers}
		a, reports := serve(t, nil, s.handle)
		got, err := askOnce(t, mysqlAs("sluice", "prefer"), a)
		if err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
		if r := report(t, reports); r.err != nil {
			t.Error(r.err)
		}
	}
	variables := func(readOnly string) []string {
		return []string{"Variable_name|Value", "offline_mode|OFF", "read_only|" + readOnly, "server_id|11", "super_read_only|OFF"}
	}
	position := uint64(12)<<40 | 900
	for _, full := range []bool{false, true} {
		f(full, DatabaseAnswer{Primary: true, ID: 11, System: 11, Has: position, Whole: position}, map[string][]string{
			askVariables: variables("OFF"), "SHOW REPLICA STATUS": {"Replica_IO_State|Source_Host"},
			"SHOW BINARY LOG STATUS": {"File|Position|Executed_Gtid_Set", "binlog.000012|900|"},
		})
	}
	f(false, DatabaseAnswer{ID: 11, System: 10, Source: 10, Connected: true, Has: position, Whole: position - 100, Replayed: position - 100,
		AgeKnown: true, Age: 7 * time.Second}, map[string][]string{
		askVariables: variables("ON"), "SHOW REPLICA STATUS": {"Source_Log_File|Read_Source_Log_Pos|Relay_Source_Log_File|" +
			"Replica_IO_Running|Replica_SQL_Running|Exec_Source_Log_Pos|Seconds_Behind_Source|Source_Server_Id|" +
			"Replica_SQL_Running_State", "binlog.000012|900|binlog.000012|Yes|Yes|800|7|10|" +
			"Replica has read all relay log; waiting for more updates"},
	})
	f(false, DatabaseAnswer{ID: 11, System: 10, Source: 10, Connected: true, Trouble: "its replication is stopped: Duplicate entry"},
		map[string][]string{askVariables: variables("ON"), "SHOW SLAVE STATUS": { // of two sources one has stopped
			"Slave_IO_Running|Slave_SQL_Running|Seconds_Behind_Master|Master_Server_Id|Last_SQL_Error",
			"Yes|Yes|3|10|", "Yes|No|NULL|10|Duplicate entry"}})
}

// Any of three settings makes a server read-only.
func TestMySQLReadOnly(t *testing.T) {
	f := func(primary bool, variables ...string) {
		t.Helper()
		s := &mysql8{secret: password, answers: map[string][]string{
			askVariables: append([]string{"Variable_name|Value", "server_id|1"}, variables...)}}
		a, _ := serve(t, nil, s.handle)
		c := mysqlAs("sluice", "prefer")
		c.MySQL.Replication = false
		if got, err := askOnce(t, c, a); err != nil || got.Primary != primary {
			t.Errorf("%q: %+v, %v", variables, got, err)
		}
	}
	f(true)
	f(true, "read_only|OFF", "super_read_only|OFF", "innodb_read_only|OFF")
	f(true, "read_only|0")
	f(false, "read_only|ON")
	f(false, "read_only|NO_LOCK")
	f(false, "read_only|OFF", "super_read_only|ON")
	f(false, "read_only|OFF", "innodb_read_only|ON")
}

// A node of Galera that has not caught up with its cluster says so.
func TestMySQLUnfit(t *testing.T) {
	f := func(want string, variables, status []string) {
		t.Helper()
		s := &mysql8{secret: password, answers: map[string][]string{
			askVariables: append([]string{"Variable_name|Value", "server_id|1"}, variables...),
			askWsrep:     append([]string{"Variable_name|Value"}, status...),
		}}
		a, _ := serve(t, nil, s.handle)
		c := mysqlAs("sluice", "prefer")
		c.MySQL.Replication = false
		p := newProber(t, c, a)
		for range 2 { // over the same session
			_, err := ask(t, p)
			if want == "" {
				if err != nil {
					t.Error(err)
				}
				continue
			}
			wantError(t, err, want)
			if !Unavailable(err) {
				t.Errorf("%v: is not unavailable", err)
			}
		}
	}
	f("", []string{"wsrep_on|OFF"}, nil)
	f("", []string{"wsrep_on|ON"}, []string{"wsrep_local_state|4", "wsrep_local_state_comment|Synced", "wsrep_ready|ON"})
	f("wsrep_local_state is 2, Donor/Desynced, want 4, Synced", []string{"wsrep_on|ON"},
		[]string{"wsrep_local_state|2", "wsrep_local_state_comment|Donor/Desynced", "wsrep_ready|ON"})
	f("wsrep_ready is off", []string{"wsrep_on|ON"}, []string{"wsrep_local_state|4", "wsrep_ready|OFF"})
	f("offline_mode is on", []string{"offline_mode|ON"}, nil)
}

// What is no MySQL, or means harm, costs a packet and no more.
func TestMySQLStrangeServers(t *testing.T) {
	packet := func(number byte, payload string) string {
		n := len(payload)
		return string([]byte{byte(n), byte(n >> 8), byte(n >> 16), number}) + payload
	}
	f := func(handle func(net.Conn) error, words ...string) {
		t.Helper()
		a, _ := serve(t, nil, handle)
		_, err := askWithin(t, newProber(t, mysqlAs("sluice", "prefer"), a), patient)
		wantError(t, err, words...)
	}
	greeted := func(lines ...string) func(net.Conn) error {
		return func(conn net.Conn) error {
			s := &mysql8{Conn: conn}
			s.send(greeting8(mysqlNative))
			if _, err := s.receive(); err != nil {
				return err
			}
			if len(lines) > 0 && lines[0] == "in" {
				s.send(ok8)
				if _, err := s.receive(); err != nil {
					return err
				}
				lines = lines[1:]
			}
			_, err := conn.Write([]byte(strings.Join(lines, "")))
			return err
		}
	}
	const odd = "a packet of another form than expected"
	f(dialogue("SSH-2.0-OpenSSH_9.2\r\n"), "greeting: "+odd, "SSH-")
	f(dialogue(packet(0, "\x09")), odd)
	f(dialogue(packet(0, "\x0a")), odd)
	f(dialogue(packet(0, "\x0a8.0\x00\x01\x00\x00\x0012345678")), odd)
	f(dialogue(packet(1, "\x0a")), odd)
	f(dialogue("\xff\xff\xff\x00"), odd)
	f(dialogue("\x00\x00\x00\x00"), odd)
	f(dialogue(packet(0, "\xff")), odd)
	f(dialogue(packet(0, "\xff\x69\x04Host is blocked")), "greeting: Host is blocked (1129)")
	f(greeted(packet(2, "\xfe")), "the server wants mysql_old_password")
	f(greeted(packet(2, "\xfemysql_native_password\x00short")), odd)
	f(greeted(packet(2, "\x01\x04")), odd)
	for _, count := range []string{"\x00", "\xfe\xff\xff\xff\xff\xff\xff\xff\x7f", "\xfc\xff\xff", "\xfe", "\xfb"} {
		f(greeted("in", packet(1, count)), odd)
	}
	column := "\x03def\x00\x00\x00\x01n"
	f(greeted("in", packet(1, "\x01"), packet(2, column), packet(3, eof8), packet(4, "\xfe\xff\xff\xff\xff\xff\xff\xff\xffxx")), odd)
	f(greeted("in", packet(1, "\x01"), packet(2, column), packet(3, column)), odd)
	var rows strings.Builder
	for i := range 300 {
		rows.WriteString(packet(byte(4+i), "\x01x"))
	}
	f(greeted("in", packet(1, "\x01"), packet(2, column), packet(3, eof8), rows.String()), odd)
}
