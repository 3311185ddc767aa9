package probe

import (
	"errors"
	"io"

	"github.com/jackc/pgx/v5/pgproto3"
)

// scramDigits is the longest number of rounds that a server may ask for in SCRAM (RFC 5802, section 5.1): a million of
// them take a third of a second of a processor, and no deadline ends them. pgconn has a bound that is ten times as high,
// and a hostile server would be asked again and again.
const scramDigits = 6

var errScramRounds = errors.New("the server wants a million rounds of SCRAM or more: lower its scram_iterations")

// scramFrontend builds the reader and writer of messages, and fails when a server wants too much of the login.
func scramFrontend(r io.Reader, w io.Writer) *pgproto3.Frontend {
	return pgproto3.NewFrontend(&scramGuard{r: r}, w)
}

// A scramGuard looks in what it reads for the rounds, the attribute i: ",i=4096". Nothing else that a server says without
// being asked has that.
type scramGuard struct {
	r      io.Reader
	prefix int // bytes of ",i=" that were just read
	digits int // after it
}

func (g *scramGuard) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	for _, b := range p[:n] {
		if g.sees(b) {
			return 0, errScramRounds
		}
	}
	return n, err
}

// sees takes the next byte and reports whether the number is too long with it.
func (g *scramGuard) sees(b byte) bool {
	const attribute = ",i="
	switch {
	case g.prefix == len(attribute) && (b >= '0' && b <= '9' || b == '+'): // strconv takes the sign
		g.digits++
		return g.digits > scramDigits
	case g.prefix < len(attribute) && b == attribute[g.prefix]:
		g.prefix++
		return false
	}
	g.prefix, g.digits = 0, 0
	if b == attribute[0] {
		g.prefix = 1
	}
	return false
}
