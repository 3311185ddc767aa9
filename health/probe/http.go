package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// httpProber makes one HTTP/1.1 request. It follows no redirect.
type httpProber struct {
	transient
	dialer  *dialer
	tls     *tlsClient // nil = in clear
	request *http.Request
	status  []StatusRange
	body    []byte
}

func newHTTPProber(c Config, d *dialer) (Prober, error) {
	p := &httpProber{dialer: d, status: c.HTTP.Status, body: []byte(c.HTTP.Body)}
	if len(p.status) == 0 {
		p.status = []StatusRange{{200, 399}}
	}
	var err error
	if c.InTLS {
		if p.tls, err = newTLSClient(c.TLS, d); err != nil {
			return nil, err
		}
	}
	if p.request, err = newRequest(c.HTTP, d); err != nil {
		return nil, err
	}
	return p, nil
}

// newRequest returns the request, which is the same every time.
func newRequest(c HTTPConfig, d *dialer) (*http.Request, error) {
	method, path, host := c.Method, c.Path, c.Host
	if method == "" {
		method = http.MethodGet
	}
	if path == "" {
		path = "/"
	}
	whole := path == "*" && method == http.MethodOptions // RFC 9110, section 9.3.7
	if !strings.HasPrefix(path, "/") && !whole {
		return nil, fmt.Errorf("path %q: want one that starts with /, or * for OPTIONS", path)
	}
	switch {
	case host != "":
	case d.address.IsUnix():
		host = "localhost"
	default:
		host = net.JoinHostPort(d.host(), strconv.Itoa(int(d.address.TCP.Port())))
	}
	// The request goes over a connection that is there already: the host in the URL is for the parser only.
	target := "http://localhost" + path
	if whole {
		target = "http://localhost/"
	}
	request, err := http.NewRequest(method, target, nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if whole {
		request.URL.Path = "*"
	}
	request.Host = host
	request.Header.Set("User-Agent", "sluice")
	for name, value := range c.Headers {
		request.Header.Set(name, value)
	}
	request.Close = true
	return request, nil
}

// Probe returns no error when the server answers as expected before ctx is done.
func (p *httpProber) Probe(ctx context.Context) (Answer, error) {
	ctx, cancel := finishing(ctx)
	defer cancel()
	conn, err := p.dialer.dialTLS(ctx, p.tls)
	if err != nil {
		return Answer{}, err
	}
	defer part(ctx, conn)
	defer cutAt(ctx, conn)()
	return Answer{}, p.ask(ctx, conn)
}

// ask sends the request over conn and judges the answer.
func (p *httpProber) ask(ctx context.Context, conn net.Conn) error {
	if err := p.request.Write(conn); err != nil {
		return fmt.Errorf("send request: %w", plainly(ctx, err))
	}
	response, err := readResponse(conn, p.request)
	if err != nil {
		return fmt.Errorf("read response: %w", tersely(plainly(ctx, overrun(conn, err))))
	}
	defer drain(ctx, conn, response.Body)
	if !expected(p.status, response.StatusCode) {
		return fmt.Errorf("status %d, want %s", response.StatusCode, wanted(p.status))
	}
	if len(p.body) == 0 {
		return nil
	}
	found, err := contains(response.Body, p.body)
	switch {
	case err != nil:
		return fmt.Errorf("read body: %w", tersely(plainly(ctx, overrun(conn, err))))
	case !found:
		return fmt.Errorf("body does not contain %s", quoted(p.body))
	}
	return nil
}

// readResponse reads the final response: those below 200, such as 103 Early Hints, are passed over, but for 101, after
// which there is no more HTTP.
func readResponse(r io.Reader, request *http.Request) (*http.Response, error) {
	buffered := bufio.NewReader(r)
	for {
		response, err := http.ReadResponse(buffered, request)
		if err != nil || response.StatusCode >= 200 || response.StatusCode == http.StatusSwitchingProtocols {
			return response, err
		}
	}
}

// tersely returns err, or its text in one line if it quotes much of what the server sent.
func tersely(err error) error {
	if text := err.Error(); oneLine(text) != text {
		return errors.New(oneLine(text))
	}
	return err
}

func expected(ranges []StatusRange, status int) bool {
	for _, r := range ranges {
		if r.First <= status && status <= r.Last {
			return true
		}
	}
	return false
}

// wanted returns the ranges in words: "200, 204 or 300 to 399".
func wanted(ranges []StatusRange) string {
	var b strings.Builder
	for i, r := range ranges {
		switch {
		case i > 0 && i == len(ranges)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(r.First))
		if r.Last != r.First {
			b.WriteString(" to " + strconv.Itoa(r.Last))
		}
	}
	return b.String()
}
