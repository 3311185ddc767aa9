package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"
)

// login is how the prober logs in.
type login struct {
	config       *pgconn.Config
	passwordFile string // "" = no password is offered
	dialer       *dialer
	tls          *tlsClient

	ways ways
}

// newLogin turns libpq's words into what is done.
func newLogin(c Config, d *dialer) (*login, error) {
	config, err := neutralConfig()
	if err != nil {
		return nil, err
	}
	config.User, config.Password, config.Database = c.Postgres.User, "", c.Postgres.Database
	l := &login{config: config, passwordFile: c.Postgres.PasswordFile, dialer: d}
	if d.address.IsUnix() {
		l.ways.list = []encryption{plain} // as libpq does, whatever the mode
		return l, nil
	}
	if l.ways.list, err = waysOf(c.Postgres.SSLMode); err != nil {
		return nil, err
	}
	l.tls, err = c.TLS.client(verificationOf(c.Postgres.SSLMode, c.TLS), d)
	return l, err
}

// neutralKeywords has a value for everything that pgconn would else take from the environment, a file in the home
// directory or the user's name. What matters is set in the Config afterwards, and pgconn never dials or does TLS
// itself.
const neutralKeywords = `host=/ port=5432 user=none database=none password=none passfile='' servicefile='' ` +
	`sslmode=disable sslcert='' sslkey='' sslrootcert='' sslpassword='' sslcertmode=allow sslsni=1 ` +
	`sslnegotiation=postgres ` +
	`connect_timeout=0 target_session_attrs=any min_protocol_version=3.0 max_protocol_version=3.0 ` +
	`channel_binding=prefer require_auth='' options='' timezone='' application_name=sluice`

// environment guards PGSERVICE while it is away.
var environment sync.Mutex

// neutralConfig returns settings in which the environment has no say.
func neutralConfig() (*pgconn.Config, error) {
	environment.Lock()
	defer environment.Unlock()
	// A service that is named is looked up even if a keyword says that there is none.
	if service, ok := os.LookupEnv("PGSERVICE"); ok {
		_ = os.Unsetenv("PGSERVICE")
		defer func() { _ = os.Setenv("PGSERVICE", service) }()
	}
	config, err := pgconn.ParseConfig(neutralKeywords)
	if err != nil {
		return nil, fmt.Errorf("make Postgres settings: %w", err)
	}
	// Any role may set this one, and a pooler in between lets it through.
	config.RuntimeParams = map[string]string{"application_name": "sluice"}
	// What is no Postgres server may send what looks like a message of a gigabyte.
	config.MaxProtocolMessageBodyLen = 64 << 10
	config.BuildFrontend = scramFrontend
	return config, nil
}

// open opens a connection.
func (l *login) open(ctx context.Context) (*pgconn.PgConn, error) {
	return openBy(ctx, &l.ways, l.openBy, func(_ encryption, err error) bool { return blamesTheWay(err) })
}

// openBy opens a connection in one way.
func (l *login) openBy(ctx context.Context, way encryption) (*pgconn.PgConn, error) {
	config, secured, err := l.settings(way)
	if err != nil {
		return nil, err
	}
	conn, err := l.dialer.dial(ctx)
	if err != nil {
		return nil, err
	}
	if conn, err = encrypt(ctx, conn, way, secured); err != nil {
		return nil, err
	}
	config.DialFunc = once(conn)
	pg, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("log in as %q: %w", config.User, plainly(ctx, loginError(err)))
	}
	return pg, nil
}

// settings returns the settings of one login, and of its TLS if the way wants it. The files are read now: a password that
// was changed since the last login, and certificates, count from this one on.
func (l *login) settings(way encryption) (config *pgconn.Config, secured *tls.Config, err error) {
	config = l.config.Copy()
	if l.passwordFile != "" {
		if config.Password, err = ReadPassword(l.passwordFile); err != nil {
			return nil, nil, fmt.Errorf("password_file: %w", err)
		}
	}
	if way != plain {
		secured, err = l.tls.settings()
	}
	return config, secured, err
}

// once returns a DialFunc that hands out conn. pgconn dials again only to cancel a query whose context is done, which
// is not worth a connection: the query takes no time.
func once(conn net.Conn) pgconn.DialFunc {
	var handedOut atomic.Bool
	return func(context.Context, string, string) (net.Conn, error) {
		if handedOut.Swap(true) {
			return nil, net.ErrClosed
		}
		return conn, nil
	}
}

// loginError returns the cause of a failed login without pgconn's own words, which have the address that was not dialed
// and may take several lines.
func loginError(err error) error {
	if answer := (*pgconn.PgError)(nil); errors.As(err, &answer) {
		return serverError{answer}
	}
	for {
		var inner error
		switch wrapper := err.(type) {
		case interface{ Unwrap() error }:
			inner = wrapper.Unwrap()
		case interface{ Unwrap() []error }:
			inner = wrapper.Unwrap()[0]
		}
		if inner == nil {
			return tersely(err)
		}
		err = inner
	}
}
