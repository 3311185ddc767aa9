package l4

import "sluice/l4/pgwire/pgtest"

// The packets of the tests, by short names: nearly every test of Postgres has some.
const (
	version30 = pgtest.Version30
	version32 = pgtest.Version32
)

var (
	startup    = pgtest.Startup
	sslRequest = pgtest.SSLRequest
	gssRequest = pgtest.GSSENCRequest

	authenticationOK = pgtest.AuthenticationOK
	askPassword      = pgtest.AskPassword
	parameter        = pgtest.Parameter

	packet         = pgtest.Packet
	backendMessage = pgtest.Message
	cancelKey      = pgtest.Key
	cancelRequest  = pgtest.CancelRequest
	loginAnswer    = pgtest.LoginAnswer
	fatal          = pgtest.Fatal
)

// expectRefusal reads what a client is told when its session comes to nothing:
// one ErrorResponse with this SQLSTATE, and FIN.
func (r *rig) expectRefusal(c conn, state string) (message string) {
	r.t.Helper()
	data, err := r.rest(c)
	if err != nil {
		r.t.Fatalf("read %s, %v; want an ErrorResponse and a FIN", brief(data), err)
	}
	fields := pgtest.ErrorFields(r.t, data)
	if fields['S'] != "FATAL" || fields['V'] != "FATAL" || fields['C'] != state || fields['M'] == "" || len(fields) != 4 {
		r.t.Fatalf("the client is told %q, want FATAL, %s and a message", fields, state)
	}
	return fields['M']
}
