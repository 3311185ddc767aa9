package probe

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
)

var (
	errNoAnswer = errors.New("no answer in time")
	errClosed   = errors.New("the server closed the connection")
)

// plainly returns what an error of reading or writing means, in words for an operator.
func plainly(ctx context.Context, err error) error {
	var timeout net.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		return errNoAnswer
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errClosed
	}
	return err
}

// quoted returns what a server sent, fit for one line: quoted and cut to 80 bytes.
func quoted(b []byte) string {
	const most = 80
	if len(b) <= most {
		return strconv.Quote(string(b))
	}
	return strconv.Quote(string(b[:most])) + "..."
}
