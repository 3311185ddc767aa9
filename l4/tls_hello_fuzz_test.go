package l4

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// FuzzHello checks of any input that reading it does not panic, that the answer
// depends neither on how the bytes arrive nor on the records that the message is in, and
// that a server understands the same by it.
func FuzzHello(f *testing.F) {
	for name := range recordedHellos {
		data := must(os.ReadFile(filepath.Join("testdata", "hello", name)))
		f.Add(data, []byte{1, 200})
		f.Add(inRecords(unframed(data), 100, 1, 300), []byte{})
	}
	for _, bad := range badHellos {
		f.Add(bad.data[:min(len(bad.data), 2000)], []byte{3})
	}
	f.Add(inRecords(validHello, 1, 1, 1, 1, 1), []byte{1, 1, 1, 1, 1})
	f.Fuzz(func(t *testing.T, data, cuts []byte) {
		whole := bytes.Clone(data)
		hello, size, err := parseHello(data)
		if !bytes.Equal(data, whole) {
			t.Fatal("the input was changed")
		}
		checkHelloAnswer(t, data, hello, size, err)
		checkHelloPieces(t, data, cuts, hello, size, err)
		if err == nil || err == errHello {
			checkHelloFraming(t, data, cuts, hello, err)
		}
		checkHelloServer(t, data, hello, err)
	})
}

// checkHelloAnswer checks that what was read can be.
func checkHelloAnswer(t *testing.T, data []byte, hello tlsHello, size int, err error) {
	t.Helper()
	_, known := helloAlert(err)
	switch {
	case err == nil:
		folded, ok := foldName(hello.serverName)
		if hello.serverName != "" && (!ok || folded != hello.serverName || len(folded) > maxName) {
			t.Fatalf("the server name is %q", hello.serverName)
		}
		if size > len(data) || size > maxHello || size < recordHead+handshakeHead+len(hello.serverName)+len(hello.protocols) {
			t.Fatalf("size %d of %d", size, len(data))
		}
	case hello != tlsHello{}:
		t.Fatalf("%+v with error %v", hello, err)
	case err == errShort:
		if size <= len(data) || size > maxHello {
			t.Fatalf("%d bytes are asked for after %d", size, len(data))
		}
	case size != 0 || err != errNotTLS && !known:
		t.Fatalf("size %d, %v", size, err)
	}
}

// checkHelloPieces reads data byte by byte, in the given pieces, and in those asked for.
func checkHelloPieces(t *testing.T, data, cuts []byte, hello tlsHello, size int, err error) {
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
		var r helloReader
		h, n, e := r.read(nil)
		come := 0
		for e == errShort && come < len(data) {
			come = min(next(come, n), len(data))
			h, n, e = r.read(data[:come])
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
func checkHelloFraming(t *testing.T, data, cuts []byte, hello tlsHello, err error) {
	t.Helper()
	var r helloReader
	for done := false; !done; {
		_, done, _ = r.record(data)
	}
	var sizes []int
	for _, cut := range cuts {
		sizes = append(sizes, 1+int(cut))
	}
	data = inRecords(unframed(data[:r.next]), sizes...)
	h, size, e := parseHello(data)
	if e == errHelloLarge && len(data) > maxHello {
		return
	}
	if h != hello || e != err || err == nil && size != len(data) {
		t.Fatalf("in other records: %+v, size %d of %d, %v; before: %+v, %v", h, size, len(data), e, hello, err)
	}
}

// checkHelloServer compares with what the server in Go's library reads. Where both
// accept a hello, a session must not go by one name and be served by another.
func checkHelloServer(t *testing.T, data []byte, hello tlsHello, err error) {
	t.Helper()
	info := serverReads(data)
	if info == nil || err != nil {
		return
	}
	name, _ := foldName(info.ServerName)
	if _, notAddress := netip.ParseAddr(strings.Trim(name, "[]")); notAddress == nil {
		name = ""
	}
	protocols := slices.Collect(hello.protocols.all())
	if name != hello.serverName || !slices.Equal(protocols, info.SupportedProtos) {
		t.Fatalf("read %q, %q; a server reads %q, %q", hello.serverName, protocols, info.ServerName, info.SupportedProtos)
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

// serverReads returns what the server in Go's library makes of data; nil = it does
// not take it.
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
	for name, hello := range recorded(t) {
		if info := serverReads(hello.data); info == nil || info.ServerName != hello.serverName {
			t.Errorf("%s: a server reads %+v", name, info)
		}
	}
}
