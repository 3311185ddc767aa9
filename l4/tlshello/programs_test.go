package tlshello

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// patient is how long a program may take.
const patient = time.Minute

// realHello is what a real program sent first, and what it was told to ask for.
type realHello struct {
	data       []byte
	serverName string
	protocols  []string
}

// A recorder is the server of one TLS client in the same process: it keeps what the
// client sends, and answers when that is a ClientHello with an alert.
type recorder struct {
	net.Conn // nil: a client that needs more than is here fails the test
	sent     []byte
	answer   *bytes.Reader
}

func (r *recorder) Write(data []byte) (int, error) {
	r.sent = append(r.sent, data...)
	return len(data), nil
}

func (r *recorder) Read(data []byte) (int, error) { return r.answer.Read(data) }

func (r *recorder) Close() error { return nil }

// goHello is the hello of Go's own client. It must take the alert for what it is.
func goHello(t *testing.T, config *tls.Config) []byte {
	t.Helper()
	r := &recorder{answer: bytes.NewReader(AlertUnrecognizedName.Record())}
	err := tls.Client(r, config).Handshake()
	if err == nil || !strings.Contains(err.Error(), "remote error: tls: unrecognized name") {
		t.Errorf("Go's client ends with %v, want unrecognized name", err)
	}
	_, size, err := parseHello(r.sent)
	if err != nil {
		t.Fatalf("parse %.40q... of Go's client: %v", r.sent, err)
	}
	return r.sent[:size]
}

// A program is a TLS client with its arguments; ADDRESS and PORT in them are replaced by where it is to connect to.
type program struct {
	name       string
	args       []string
	preface    []byte // what it sends in clear first, to be answered with S
	alert      string // what it calls the alert; "" = unrecognized name
	serverName string
	protocols  []string
}

// programHello runs p against a server that reads its hello and ends it with an
// alert, which the program must take for what it is.
func programHello(t *testing.T, path string, p program) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	place := strings.NewReplacer("ADDRESS", listener.Addr().String(), "PORT", port)
	command := exec.CommandContext(ctx, path)
	for _, arg := range p.args {
		command.Args = append(command.Args, place.Replace(arg))
	}
	command.Env = []string{"HOME=" + t.TempDir(), "PATH=/usr/bin:/bin", "LC_ALL=C"}
	command.WaitDelay = time.Second
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		t.Fatalf("start %s: %v", p.name, err)
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	hello, err := serveAlert(listener, p.preface)
	listener.Close() // a second try of the program finds nothing
	command.Wait()   // with an error: it did not get what it came for
	if err != nil {
		t.Fatalf("%s: read its hello: %v; it says %s", p.name, err, output.String())
	}
	if alert := cmp.Or(p.alert, "unrecognized name"); !strings.Contains(output.String(), alert) {
		t.Errorf("%s does not say %q: %s", p.name, alert, output.String())
	}
	return hello
}

// serveAlert reads one hello and answers it with unrecognized_name.
func serveAlert(listener net.Listener, preface []byte) ([]byte, error) {
	c, err := listener.Accept()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patient))
	if len(preface) > 0 {
		got := make([]byte, len(preface))
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, preface) {
			return nil, errors.Join(err, fmt.Errorf("it sends %q", got))
		}
		c.Write([]byte("S"))
	}
	var r Reader
	var data []byte
	for _, size, err := r.Read(nil); ; _, size, err = r.Read(data) {
		if err == nil {
			c.Write(AlertUnrecognizedName.Record())
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c) // a reset must not overtake the alert
			return data, nil
		}
		if err != io.ErrUnexpectedEOF {
			return data, err
		}
		more := make([]byte, size-len(data))
		n, err := c.Read(more)
		if data = append(data, more[:n]...); err != nil {
			return data, err
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
