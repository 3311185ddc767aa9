package tlshello

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sluice/l4/tlshello/hellotest"
)

// FuzzHello checks of any input that reading it does not panic, that the answer depends neither on how the bytes arrive
// nor on the records that the message is in, and that a server understands the same by it.
func FuzzHello(f *testing.F) {
	for _, r := range hellotest.Recorded() {
		f.Add(r.Data, []byte{1, 200})
		f.Add(hellotest.InRecords(hellotest.Unframed(r.Data), 100, 1, 300), []byte{})
	}
	for _, bad := range hellotest.Bad {
		f.Add(bad.Data[:min(len(bad.Data), 2000)], []byte{3})
	}
	f.Add(hellotest.InRecords(hellotest.Valid, 1, 1, 1, 1, 1), []byte{1, 1, 1, 1, 1})
	f.Fuzz(func(t *testing.T, data, cuts []byte) {
		whole := bytes.Clone(data)
		hello, size, err := parseHello(data)
		if !bytes.Equal(data, whole) {
			t.Fatal("the input was changed")
		}
		checkHelloAnswer(t, data, hello, size, err)
		checkHelloPieces(t, data, cuts, hello, size, err)
		if err == nil || err == ErrMalformed {
			checkHelloFraming(t, data, cuts, hello, err)
		}
		checkHelloServer(t, data, hello, err)
	})
}

// checkHelloAnswer checks that what was read can be.
func checkHelloAnswer(t *testing.T, data []byte, hello Hello, size int, err error) {
	t.Helper()
	_, known := AlertFor(err)
	switch {
	case err == nil:
		folded, ok := FoldName(hello.ServerName)
		if hello.ServerName != "" && (!ok || folded != hello.ServerName || len(folded) > MaxName) {
			t.Fatalf("the server name is %q", hello.ServerName)
		}
		if size > len(data) || size > MaxHello || size < RecordHead+handshakeHead+len(hello.ServerName)+len(hello.Protocols) {
			t.Fatalf("size %d of %d", size, len(data))
		}
	case hello != Hello{}:
		t.Fatalf("%+v with error %v", hello, err)
	case err == io.ErrUnexpectedEOF:
		if size <= len(data) || size > MaxHello {
			t.Fatalf("%d bytes are asked for after %d", size, len(data))
		}
	case size != 0 || err != ErrNotTLS && !known:
		t.Fatalf("size %d, %v", size, err)
	}
}

// checkHelloPieces reads data byte by byte, in the given pieces, and in those asked for.
func checkHelloPieces(t *testing.T, data, cuts []byte, hello Hello, size int, err error) {
	t.Helper()
	ways := map[string]func(come, asked int) int{
		"byte by byte": func(come, _ int) int { return come + 1 },
		"as asked":     func(_, asked int) int { return asked },
		"in pieces": func(come, _ int) int {
			if len(cuts) == 0 {
				return len(data)
			}
			come, cuts = come+int(cuts[0]), cuts[1:]
			return come
		},
	}
	for way, next := range ways {
		var r Reader
		h, n, e := r.Read(nil)
		come := 0
		for e == io.ErrUnexpectedEOF && come < len(data) {
			come = min(next(come, n), len(data))
			h, n, e = r.Read(data[:come])
		}
		if h != hello || n != size || e != err {
			t.Fatalf("%s: %+v, size %d, %v; at once: %+v, size %d, %v", way, h, n, e, hello, size, err)
		}
		if way == "as asked" && err == nil && come != size {
			t.Fatalf("%d bytes were read of a hello of %d", come, size)
		}
	}
}

// checkHelloFraming puts the message of data into other records. Bytes that come after
// it stay away: whether they may depends on where the last record ends.
func checkHelloFraming(t *testing.T, data, cuts []byte, hello Hello, err error) {
	t.Helper()
	var r Reader
	for done := false; !done; {
		_, done, _ = r.record(data)
	}
	var sizes []int
	for _, cut := range cuts {
		sizes = append(sizes, 1+int(cut))
	}
	data = hellotest.InRecords(hellotest.Unframed(data[:r.next]), sizes...)
	h, size, e := parseHello(data)
	if e == ErrHelloTooLarge && len(data) > MaxHello {
		return
	}
	if h != hello || e != err || err == nil && size != len(data) {
		t.Fatalf("in other records: %+v, size %d of %d, %v; before: %+v, %v", h, size, len(data), e, hello, err)
	}
}

// checkHelloServer compares with what the server in Go's library reads. Where both
// accept a hello, a session must not go by one name and be served by another.
func checkHelloServer(t *testing.T, data []byte, hello Hello, err error) {
	t.Helper()
	info := serverReads(data)
	if info == nil || err != nil {
		return
	}
	name, _ := FoldName(info.ServerName)
	if _, notAddress := netip.ParseAddr(strings.Trim(name, "[]")); notAddress == nil {
		name = ""
	}
	protocols := slices.Collect(hello.Protocols.All())
	if name != hello.ServerName || !slices.Equal(protocols, info.SupportedProtos) {
		t.Fatalf("read %q, %q; a server reads %q, %q", hello.ServerName, protocols, info.ServerName, info.SupportedProtos)
	}
}

// A replay is the connection of a server whose client has sent all it will.
type replay struct {
	net.Conn
	*bytes.Reader
}

func (r replay) Read(data []byte) (int, error)  { return r.Reader.Read(data) }
func (r replay) Write(data []byte) (int, error) { return len(data), nil }
func (r replay) Close() error                   { return nil }

// serverReads returns what the server in Go's library makes of data; nil = it does not take it.
func serverReads(data []byte) (info *tls.ClientHelloInfo) {
	config := &tls.Config{GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
		info = i
		return nil, errors.New("enough")
	}}
	tls.Server(replay{Reader: bytes.NewReader(data)}, config).Handshake()
	return info
}

// The comparison in FuzzHello compares something.
func TestServerReads(t *testing.T) {
	for name, hello := range recorded() {
		if info := serverReads(hello.data); info == nil || info.ServerName != hello.serverName {
			t.Errorf("%s: a server reads %+v", name, info)
		}
	}
}
