package probe

import (
	"net/netip"
	"regexp"

	"sluice/pool"
)

// Config says what a server is asked, and where. What a kind does not use is ignored.
type Config struct {
	Kind Kind
	// Address is asked in place of the backend's own address; its port may be 0: the backend's own port. The zero
	// Address means the backend itself.
	Address pool.Address
	// Port is asked in place of the address's own; 0 = the address's own.
	Port uint16
	// Sources are addresses of this machine from which a server of their family is asked, in turn; empty = the kernel
	// chooses one.
	Sources []netip.Addr
	// ProxyVersion is the version of the PROXY header that is sent before anything else: 0 = none, 1 or 2.
	ProxyVersion uint8

	// InTLS says that HTTP and Expect are spoken inside TLS.
	InTLS    bool
	TLS      TLSConfig
	HTTP     HTTPConfig
	Postgres PostgresConfig
	MySQL    MySQLConfig
	Steps    []Step // of Expect
}

// TLSConfig is how a TLS handshake is made: by the kind TLS, by HTTP and Expect when Config.InTLS is set, and by Postgres.
// The files are read at every handshake: who rotates them needs no reload.
type TLSConfig struct {
	ServerName string // asked for (SNI) and verified; "" = none is sent, and the backend's IP is verified
	CAFile     string // certificates to trust, in PEM form; "" = none is verified, but see PostgresConfig.SSLMode
	CertFile   string // the client's own certificate, in PEM form; "" = it has none
	KeyFile    string // its key; given exactly when CertFile is
}

// HTTPConfig is the request of the kind HTTP, and what answers are good.
type HTTPConfig struct {
	Method  string
	Path    string            // begins with "/", or is "*", with the method OPTIONS: the server as a whole
	Host    string            // Host header; "" = the address that is asked
	Headers map[string]string // further ones, by name; User-Agent is "sluice" unless it is among them
	Status  []StatusRange     // expected ones; empty = 200 to 399
	// Body must be somewhere in the first 64 KiB of the answer's body. "" = status and headers decide: the body may be
	// short, slow or endless.
	Body string
}

// StatusRange is a range of HTTP status codes, both ends included.
type StatusRange struct{ First, Last int }

// PostgresConfig is how the kind Postgres logs in.
type PostgresConfig struct {
	User         string
	PasswordFile string // holds the password, and is read at every login; "" = none is offered
	Database     string
	// SSLMode is one of libpq's words: disable, allow, prefer (also for ""), require, verify-ca, verify-full. With a
	// TLSConfig.CAFile every mode that comes to speak TLS verifies the certificate, verify-full its name too. The last two
	// verify without one as well, with the system's certificates. Over a Unix socket there is no TLS.
	SSLMode string
}

// MySQLConfig is how the kind MySQL logs in, and whether it asks for more than whether the server takes statements.
type MySQLConfig struct {
	User         string // required: MySQL counts connections that come without a login, and blocks their host
	PasswordFile string // holds the password, and is read at every login; "" = the user has none
	SSLMode      string // as PostgresConfig.SSLMode
	Replication  bool   // whom it replicates from, and how far it has got
}

// Step is one exchange of the kind Expect. Bytes are sent first, if there are any, then an answer is awaited, if one
// is expected: Want is contained in it, or Pattern matches it. It is looked for in what has come since the last Send,
// behind what an earlier step matched, and is found within 64 KiB.
type Step struct {
	Send    []byte
	Want    []byte
	Pattern *regexp.Regexp
}
