package e2e

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/sysutil/systest"
)

// dovecotConfig is an IMAP server that wants a PROXY header, and lets in whoever knows the password. All of it runs as
// the users that it is given, for nobody else may start it.
const dovecotConfig = `
base_dir = %[1]s/run
state_dir = %[1]s/run
log_path = /dev/stderr
protocols = imap
ssl = no
disable_plaintext_auth = no
haproxy_trusted_networks = 127.0.0.0/8
haproxy_timeout = 20s
mail_location = maildir:%[1]s/mail/%%u
first_valid_uid = 1
first_valid_gid = 1
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=%[3]s gid=%[4]s home=%[1]s/mail/%%u
}
service anvil {
  chroot =
}
service imap-login {
  chroot =
  inet_listener imap {
    address = 127.0.0.1
    port = %[2]d
    haproxy = yes
  }
  inet_listener imaps {
    port = 0
  }
}
`

// dovecotUsers is for a test that is not root: then all of Dovecot runs as the user of the test.
const dovecotUsers = `
default_login_user = %[1]s
default_internal_user = %[1]s
default_internal_group = %[2]s
`

// startDovecot runs Dovecot and returns it with its port.
func startDovecot(t *testing.T) (*process, int) {
	t.Helper()
	dir, port := tempDir(t), systest.ReservePort(t)
	mail := filepath.Join(dir, "mail")
	if err := os.Mkdir(mail, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(mail, 0o777); err != nil {
		t.Fatal(err)
	}
	name, group, config := "nobody", "nogroup", dovecotConfig
	if os.Getuid() != 0 {
		self, err := user.Current()
		if err != nil {
			t.Fatal(err)
		}
		own, err := user.LookupGroupId(self.Gid)
		if err != nil {
			t.Fatal(err)
		}
		name, group = self.Username, own.Name
		config += fmt.Sprintf(dovecotUsers, name, group)
	}
	file := filepath.Join(dir, "dovecot.conf")
	writeFile(t, file, fmt.Sprintf(config, dir, port, name, group))
	p := start(t, "dovecot", dir, exec.Command(program(t, "dovecot"), "-F", "-c", file))
	p.untilListening(port)
	return p, port
}

// mailConfig is Dovecot behind a TCP and a Unix socket.
const mailConfig = `
listeners:
  tcp: {bind: "127.0.0.1:0", pool: mail}
  unix: {bind: "unix:%s", pool: mail}
pools:
  mail:
    send_proxy: %s
    %s
    check: {type: expect, steps: [{expect: "* OK"}], send_proxy: true}
    backends: [{name: mail, address: "127.0.0.1:%d"}]
`

// Dovecot, which refuses families of addresses that it does not know, takes every client that sluice tells it of.
func TestDovecotBehind(t *testing.T) {
	for _, send := range []struct{ version, tlvs string }{{"v1", ""}, {"v2", ""}, {"v2", "tlvs: [unique_id, crc32c]"}} {
		t.Run(strings.TrimSpace(send.version+" "+send.tlvs), func(t *testing.T) {
			t.Parallel()
			dovecot, port := startDovecot(t)
			path := filepath.Join(tempDir(t), "front")
			r := startSluice(t, fmt.Sprintf(mailConfig, path, send.version, send.tlvs, port))
			readMail(t, &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 9, 1)}}, "tcp", r.address("tcp"), "ann")
			readMail(t, &net.Dialer{}, "unix", path, "bob")
			until(t, "Dovecot logs who has come", func() error {
				log := readFile(t, dovecot.log)
				for _, login := range []string{"user=<ann>, method=PLAIN, rip=127.0.9.1,", "user=<bob>, method=PLAIN, rip=127.0.0.1,"} {
					if !strings.Contains(log, login) {
						return fmt.Errorf("no line has %q:\n%s", login, log)
					}
				}
				return nil
			})
			if log := readFile(t, dovecot.log); strings.Contains(log, "Error") {
				t.Errorf("Dovecot complains:\n%s", log)
			}
			r.expectClean(2)
		})
	}
}

// readMail logs in to Dovecot and out again.
func readMail(t *testing.T, dialer *net.Dialer, network, address, user string) {
	t.Helper()
	conn, err := dialer.DialContext(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patient))
	fmt.Fprintf(conn, "a LOGIN %s secret\r\nb LOGOUT\r\n", user)
	answers := bufio.NewScanner(conn)
	for answers.Scan() {
		if strings.HasPrefix(answers.Text(), "b OK") {
			return
		}
	}
	t.Fatalf("%s over %s is not let in, or not out: %v", user, network, answers.Err())
}
