package probe

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"
)

// Capabilities of client and server.
const (
	mysqlLongPassword = 1 << 0 // said by servers of MySQL, not by those of MariaDB, and by their clients
	mysqlProtocol41   = 1 << 9
	mysqlTLS          = 1 << 11
	mysqlTransactions = 1 << 13
	mysqlSecure       = 1 << 15 // an answer to a challenge has its length before it
	mysqlPluginAuth   = 1 << 19
	mysqlAttributes   = 1 << 20
)

// mysqlUTF8 is the collation of what is said, utf8mb4_general_ci.
const mysqlUTF8 = 45

// greeting is what the server says first.
type greeting struct {
	version      string
	capabilities uint32
	challenge    []byte
	plugin       string // how it wants the user to show who he is
}

func readGreeting(payload []byte) (greeting, error) {
	c := cursor{rest: payload}
	if protocol := c.number(1); protocol != 10 {
		return greeting{}, fmt.Errorf("%w: it begins with %s, which is no greeting", errOddPacket, quoted(payload))
	}
	g := greeting{version: c.terminated()}
	c.take(4) // of the connection
	g.challenge = append(g.challenge, c.take(8)...)
	c.take(1)
	g.capabilities = uint32(c.number(2))
	c.take(3) // collation, status
	g.capabilities |= uint32(c.number(2)) << 16
	c.take(11)
	g.challenge = append(g.challenge, c.take(12)...)
	if c.short || g.capabilities&mysqlProtocol41 == 0 {
		return greeting{}, fmt.Errorf("%w: a greeting of before MySQL 4.1", errOddPacket)
	}
	c.take(1) // the end of the challenge; old servers have nothing after it
	if g.capabilities&mysqlPluginAuth != 0 {
		g.plugin = c.terminated()
	}
	return g, nil
}

// mysqlLogin is how the prober logs in.
type mysqlLogin struct {
	config MySQLConfig
	dialer *dialer
	tls    *tlsClient

	ways ways
}

func newMySQLProber(c Config, d *dialer) (Prober, error) {
	l := &mysqlLogin{config: c.MySQL, dialer: d}
	if c.MySQL.User == "" {
		return nil, errors.New("check of MySQL without a user: the server blocks a host that comes and does not log in")
	}
	var err error
	if d.address.IsUnix() {
		l.ways.list = []encryption{plain}
	} else if l.ways.list, err = waysOf(c.MySQL.SSLMode); err != nil {
		return nil, err
	}
	if l.tls, err = c.TLS.client(verificationOf(c.MySQL.SSLMode, c.TLS), d); err != nil {
		return nil, err
	}
	return newDatabaseProber(l.open), nil
}

// open opens a connection.
func (l *mysqlLogin) open(ctx context.Context) (databaseConn, error) {
	conn, err := openBy(ctx, &l.ways, l.openBy, func(way encryption, err error) bool {
		return blamesTheWay(err) || way == plain && wantsTLS(err)
	})
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// wantsTLS reports whether a login without TLS failed for what may be the lack of TLS: MySQL says so, MariaDB only denies access to
// a user that was made with REQUIRE SSL.
func wantsTLS(err error) bool {
	var said serverErrorOfMySQL
	return errors.As(err, &said) && (said.number == 3159 || said.number == 1045)
}

func (l *mysqlLogin) openBy(ctx context.Context, way encryption) (*mysqlConn, error) {
	s := mysqlSettings{user: l.config.User, way: way, local: l.dialer.address.IsUnix()}
	var err error
	if l.config.PasswordFile != "" {
		if s.password, err = ReadPassword(l.config.PasswordFile); err != nil {
			return nil, fmt.Errorf("password_file: %w", err)
		}
	}
	if way != plain {
		if s.tls, err = l.tls.settings(); err != nil {
			return nil, err
		}
	}
	conn, err := l.dialer.dial(ctx)
	if err != nil {
		return nil, err
	}
	c := &mysqlConn{wire: mysqlWire{conn: conn}, replication: l.config.Replication}
	if err := c.logIn(ctx, s); err != nil {
		c.shut()
		return nil, fmt.Errorf("log in as %q: %w", s.user, err)
	}
	return c, nil
}

// mysqlSettings are those of one login.
type mysqlSettings struct {
	user, password string
	way            encryption
	tls            *tls.Config
	local          bool // over a Unix socket
}

// logIn goes through the whole exchange, from the server's greeting to its consent.
func (c *mysqlConn) logIn(ctx context.Context, s mysqlSettings) error {
	defer cutAt(ctx, c.wire.conn)()
	if err := sendPrefix(c.wire.conn); err != nil { // the server speaks first
		return fmt.Errorf("send PROXY header: %w", plainly(ctx, err))
	}
	payload, err := c.wire.read()
	if err != nil {
		return fmt.Errorf("greeting: %w", c.reason(ctx, err))
	}
	g, err := readGreeting(payload)
	if err != nil {
		return err
	}
	c.version = g.version
	secure := s.way != plain && g.capabilities&mysqlTLS != 0
	opening := g.opening(secure)
	if s.way == required && !secure {
		return c.decline(g, opening, errors.New("the server offers no TLS"))
	}
	if secure {
		if err := c.wire.write(opening); err != nil {
			return plainly(ctx, err)
		}
		over, err := handshake(ctx, c.wire.conn, trusting(s.tls))
		if err != nil {
			return handshakeError{err}
		}
		c.wire.conn = over // a deadline of the connection below is one of this
		if err := trust(over, s.tls); err != nil {
			return c.decline(g, opening, handshakeError{fmt.Errorf("TLS handshake: %w", err)})
		}
	}
	return c.reason(ctx, c.authenticate(g, s, opening, secure || s.local))
}

// decline ends a login that must not go on, with nobody's name and no password. The server denies that, where it would
// count a connection that just closes, and block the host after some, with all sessions that come from here.
func (c *mysqlConn) decline(g greeting, opening []byte, why error) error {
	return c.awaitDenial(c.wire.write(g.respond(opening, "", mysqlNative, nil)), why)
}

// awaitDenial lets the server answer, if it does so at once, before the connection is closed.
func (c *mysqlConn) awaitDenial(written, why error) error {
	if written == nil {
		_ = c.wire.conn.SetReadDeadline(time.Now().Add(moment))
		_, _ = c.wire.read()
	}
	return why
}

// opening is how the client's answer begins; before TLS it is all of it.
func (g greeting) opening(secure bool) []byte {
	capabilities := uint32(mysqlLongPassword | mysqlProtocol41 | mysqlTransactions | mysqlSecure)
	capabilities |= g.capabilities & (mysqlPluginAuth | mysqlAttributes)
	if secure {
		capabilities |= mysqlTLS
	}
	opening := binary.LittleEndian.AppendUint32(nil, capabilities)
	opening = binary.LittleEndian.AppendUint32(opening, mysqlPacketMost)
	opening = append(opening, mysqlUTF8)
	return append(opening, make([]byte, 23)...)
}

// mysqlAttribute is what performance_schema shows of the session, a name and a value with their lengths.
const mysqlAttribute = "\x0cprogram_name\x06sluice"

// respond is the client's whole answer to the greeting.
func (g greeting) respond(opening []byte, user, plugin string, answer []byte) []byte {
	response := append(opening, user...)
	response = append(response, 0, byte(len(answer)))
	response = append(response, answer...)
	if g.capabilities&mysqlPluginAuth != 0 {
		response = append(append(response, plugin...), 0)
	}
	if g.capabilities&mysqlAttributes != 0 {
		response = append(append(response, byte(len(mysqlAttribute))), mysqlAttribute...)
	}
	return response
}

// net returns the connection that packets are read from.
func (c *mysqlConn) net() net.Conn { return c.wire.conn }
