package tlshello

import (
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"sluice/l4/tlshello/hellotest"
)

// programs are asked for shop.example.com in ways of their own.
var programs = []program{
	{name: "openssl", args: sClient("-servername Shop.Example.Com -alpn h2,http/1.1"),
		serverName: "shop.example.com", protocols: []string{"h2", "http/1.1"}},
	{name: "openssl", args: sClient("-servername shop.example.com. -tls1_2"), serverName: "shop.example.com"},
	{name: "openssl", args: sClient("-servername shop.example.com -tls1 -cipher ALL:@SECLEVEL=0"),
		serverName: "shop.example.com"},
	{name: "openssl", args: sClient("-groups X25519MLKEM768:X25519 -servername shop.example.com"),
		serverName: "shop.example.com"},
	{name: "openssl", args: sClient("-servername 192.0.2.1")},
	{name: "openssl", args: sClient("-noservername")},
	{name: "curl", args: []string{"-sSk", "--connect-to", "::ADDRESS", "https://shop.example.com./"},
		serverName: "shop.example.com", protocols: []string{"h2", "http/1.1"}},
	{name: "curl", args: []string{"-sSk", "--no-alpn", "https://ADDRESS/"}},
	{name: "psql", args: []string{"host=shop.example.com hostaddr=127.0.0.1 port=PORT user=a dbname=a sslmode=require"},
		preface: []byte("\x00\x00\x00\x08\x04\xd2\x16\x2f"), serverName: "shop.example.com"},
	{name: "chromium", args: []string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
		"--dump-dom", "--host-resolver-rules=MAP shop.example.com 127.0.0.1", "https://shop.example.com:PORT/"},
		alert: "ERR_SSL_UNRECOGNIZED_NAME_ALERT", serverName: "shop.example.com", protocols: []string{"h2", "http/1.1"}},
}

func sClient(args string) []string {
	return append([]string{"s_client", "-connect", "ADDRESS"}, strings.Fields(args)...)
}

// installed are the hellos of the programs that this machine has; recorded ones stand in for the others.
func installed(t *testing.T) map[string]realHello {
	t.Helper()
	hellos := map[string]realHello{}
	kems, _ := exec.Command("openssl", "list", "-kem-algorithms").Output()
	for _, p := range programs {
		path, err := exec.LookPath(p.name)
		if err != nil || slices.Contains(p.args, "-groups") && !strings.Contains(string(kems), "X25519MLKEM768") {
			t.Logf("not on this machine: %s %s", p.name, p.args)
			continue
		}
		hellos[fmt.Sprint(p.name, p.args)] = realHello{programHello(t, path, p), p.serverName, p.protocols}
	}
	return hellos
}

// ofGo are the hellos of the client in Go's library, which is always here. One of them is too long for a single record.
func ofGo(t *testing.T) map[string]realHello {
	t.Helper()
	f := func(protocols []string, config *tls.Config) realHello {
		config.ServerName, config.NextProtos = "shop.example.com", protocols
		return realHello{goHello(t, config), "shop.example.com", protocols}
	}
	var many []string
	for i := range 2000 {
		many = append(many, fmt.Sprintf("proto-%d", i))
	}
	return map[string]realHello{
		"Go":                         f([]string{"h2", "http/1.1"}, &tls.Config{}),
		"Go, Postgres":               f([]string{"postgresql"}, &tls.Config{}),
		"Go, without X25519MLKEM768": f(nil, &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519}}),
		"Go, TLS 1.2":                f(nil, &tls.Config{MaxVersion: tls.VersionTLS12}),
		"Go, TLS 1.0":                f(nil, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}),
		"Go, 2,000 protocols":        f(many, &tls.Config{}),
		"Go, no name":                {goHello(t, &tls.Config{InsecureSkipVerify: true}), "", nil},
		"Go, an address":             {goHello(t, &tls.Config{ServerName: "2001:db8::1"}), "", nil},
	}
}

func recorded() map[string]realHello {
	hellos := map[string]realHello{}
	for name, r := range hellotest.Recorded() {
		hellos[name+", recorded"] = realHello{r.Data, "shop.example.com", r.Protocols}
	}
	return hellos
}

// Hellos of real programs are read in whatever pieces and records they come.
func TestRealHellos(t *testing.T) {
	for _, hellos := range []map[string]realHello{ofGo(t), recorded(), installed(t)} {
		for name, hello := range hellos {
			t.Run(name, func(t *testing.T) {
				hello.check(t, hello.data)
				message := hellotest.Unframed(hello.data)
				random := rand.New(rand.NewPCG(1, uint64(len(message))))
				for cut := 1; cut < len(message); cut += step(message) {
					hello.check(t, hellotest.InRecords(message, cut)) // 2 records
				}
				for records := 3; records <= 5; records++ {
					for range 100 {
						hello.check(t, hellotest.InRecords(message, hellotest.Cuts(random, len(message), records)...))
					}
				}
				hello.checkSplits(t, hello.data)
				hello.checkSplits(t, hellotest.InRecords(message, hellotest.Cuts(random, len(message), 4)...))
			})
		}
	}
}

// step is 1, every byte, for hellos as they are, and more for one as no client has it.
func step(data []byte) int { return 1 + len(data)/8192*16 }

// check reads the hello from data, which ends with it and then goes on.
func (h realHello) check(t *testing.T, data []byte) {
	t.Helper()
	for _, all := range [][]byte{data, slices.Concat(data, hellotest.Record(23, []byte("early data")))} {
		h.expect(t, all, len(data), &Reader{})
	}
}

// checkSplits reads the hello from data in two pieces, cut at every byte, and in single bytes.
func (h realHello) checkSplits(t *testing.T, data []byte) {
	t.Helper()
	var dripped Reader
	for n := range data {
		if _, _, err := dripped.Read(data[:n]); err != io.ErrUnexpectedEOF {
			t.Fatalf("%d of %d bytes, one by one: %v", n, len(data), err)
		}
		if n%step(data) != 0 {
			continue
		}
		var r Reader
		if _, size, err := r.Read(data[:n]); err != io.ErrUnexpectedEOF || size <= n || size > len(data) {
			t.Fatalf("%d of %d bytes: size %d, %v", n, len(data), size, err)
		}
		h.expect(t, data, len(data), &r)
	}
	h.expect(t, data, len(data), &dripped)
}

func (h realHello) expect(t *testing.T, data []byte, want int, r *Reader) {
	t.Helper()
	hello, size, err := r.Read(data)
	if err != nil || size != want || hello.ServerName != h.serverName ||
		!slices.Equal(slices.Collect(hello.Protocols.All()), h.protocols) {
		t.Fatalf("read %+v, size %d of %d, %v; want %q, %q", hello, size, want, err, h.serverName, h.protocols)
	}
}
