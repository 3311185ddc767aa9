package probe

import (
	"errors"
	"slices"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// unavailable is a failure that needs no second one to be believed.
type unavailable struct{ err error }

func (u unavailable) Error() string { return u.err.Error() }
func (u unavailable) Unwrap() error { return u.err }

// Unavailable reports whether err is the server's own word, or as good as that, that it takes no sessions now:
// Postgres said so in answer to a login or a query (SQLSTATE 57P01, 57P02, 57P03), MySQL said that it shuts down or is
// offline, a Galera node that it has not caught up, or the connection that the prober had kept was lost and a new one is
// refused.
func Unavailable(err error) bool {
	var u unavailable
	return errors.As(err, &u)
}

// saysUnavailable reports whether the server itself says that it takes no sessions: it shuts down, has crashed, or
// starts.
func saysUnavailable(err error) bool {
	var unfit unfitError
	var said serverErrorOfMySQL
	if errors.As(err, &unfit) || errors.As(err, &said) && slices.Contains([]uint16{
		1053, // ER_SERVER_SHUTDOWN
		3032, // ER_SERVER_OFFLINE_MODE
	}, said.number) {
		return true
	}
	var answer *pgconn.PgError
	return errors.As(err, &answer) && slices.Contains([]string{
		"57P01", // admin_shutdown
		"57P02", // crash_shutdown
		"57P03", // cannot_connect_now
	}, answer.Code)
}

// refused reports whether nobody listens. A Unix socket is removed when its server ends.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
}
