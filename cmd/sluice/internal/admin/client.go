package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
)

// maxStatusSize is far beyond the status of ten thousand backends. It bounds what is read from a socket that turns out
// to be somebody else's.
const maxStatusSize = 64 << 20

// FetchStatus asks the sluice at a control socket. It returns the answer and the text it was read from.
func FetchStatus(ctx context.Context, socket string) (Status, []byte, error) {
	text, err := fetch(ctx, socket, "/api/v1/status")
	if err != nil {
		return Status{}, nil, err
	}
	var status Status
	if err := json.Unmarshal(text, &status); err != nil {
		return Status{}, nil, fmt.Errorf("read answer of %s: %w", socket, err)
	}
	return status, text, nil
}

func fetch(ctx context.Context, socket, path string) ([]byte, error) {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://sluice"+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", socket, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask %s: it answered %s", socket, answer.Status)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxStatusSize))
	if err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", socket, err)
	}
	return text, nil
}
