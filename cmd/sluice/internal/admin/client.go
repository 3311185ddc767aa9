package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"sluice/configs"
)

// maxAnswer is far beyond the status of ten thousand backends. It bounds what is read from a socket that turns out to be
// somebody else's.
const maxAnswer = 64 << 20

// A Request is what a sluice is asked through its control socket.
type Request struct {
	Method string
	Path   string // escaped
	Query  url.Values
	Body   any // sent as JSON; nil = none
}

// A Refusal is the error of a request that was answered, but not with what it asks for.
type Refusal struct {
	Socket   string
	Status   int              // of HTTP
	Message  string           // "" when there was none that says more than the status
	Problems configs.Problems // of the configuration
}

// Error returns what the answer said.
func (r *Refusal) Error() string {
	if r.Message == "" {
		return fmt.Sprintf("ask %s: it answered %d %s", r.Socket, r.Status, http.StatusText(r.Status))
	}
	return r.Message
}

// BackendPath returns the path of a backend. Both names may have any characters: that of a Unix socket has slashes.
func BackendPath(pool, backend string) string {
	return PoolPath(pool) + "/backends/" + url.PathEscape(backend)
}

// PoolPath returns the path of a pool.
func PoolPath(pool string) string { return "/api/v1/pools/" + url.PathEscape(pool) }

// FetchStatus asks the sluice at a control socket. It returns the answer and the text it was read from.
func FetchStatus(ctx context.Context, socket string) (Status, []byte, error) {
	var status Status
	text, err := Fetch(ctx, socket, Request{Method: http.MethodGet, Path: "/api/v1/status"}, &status)
	return status, text, err
}

// Fetch asks the sluice at a control socket, reads the answer into a value, and returns the text it was read from. The
// error may be a *Refusal.
func Fetch(ctx context.Context, socket string, r Request, answer any) ([]byte, error) {
	body, err := Open(ctx, socket, r)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, maxAnswer))
	if err == nil {
		err = json.Unmarshal(text, answer)
	}
	if err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", socket, err)
	}
	return text, nil
}

// Open is Fetch for an answer that is long: it is to be read, and closed.
func Open(ctx context.Context, socket string, r Request) (io.ReadCloser, error) {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}
	request, err := r.request(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", socket, err)
	}
	if answer.StatusCode/100 != 2 {
		defer answer.Body.Close()
		return nil, readRefusal(socket, answer)
	}
	return answer.Body, nil
}

func (r *Request) request(ctx context.Context) (*http.Request, error) {
	var body io.Reader
	if r.Body != nil {
		text, err := json.Marshal(r.Body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	target := "http://sluice" + r.Path
	if len(r.Query) > 0 {
		target += "?" + r.Query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, target, body)
	if err == nil && body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return request, err
}

func readRefusal(socket string, answer *http.Response) *Refusal {
	var failure Failure
	// Whoever answers something else says no more than the status does.
	_ = json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(&failure)
	return &Refusal{Socket: socket, Status: answer.StatusCode, Message: failure.Error, Problems: failure.Problems}
}
