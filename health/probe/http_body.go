package probe

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
)

// bodyMost bounds what is read of an answer's body.
const bodyMost = 64 << 10

// contains reads a body until it contains what is wanted, and no further: what comes behind that may be slow, endless or
// broken off.
func contains(body io.Reader, want []byte) (bool, error) {
	body = io.LimitReader(body, bodyMost)
	var got []byte
	buffer := make([]byte, 4<<10)
	for {
		n, err := body.Read(buffer)
		from := max(0, len(got)-len(want)+1) // before that it has been looked for
		got = append(got, buffer[:n]...)
		switch {
		case bytes.Contains(got[from:], want):
			return true, nil
		case errors.Is(err, io.EOF):
			return false, nil
		case err != nil:
			return false, err
		}
	}
}

// drain takes what is left of a body, for a moment: a server that gets it out ends in peace, and writes no line of a
// client that went away. Body.Close would wait for the end.
func drain(ctx context.Context, conn net.Conn, body io.Reader) {
	if ctx.Err() != nil {
		return
	}
	_ = conn.SetReadDeadline(momentOf(ctx))
	_, _ = io.Copy(io.Discard, io.LimitReader(body, bodyMost))
}
