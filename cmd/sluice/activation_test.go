package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sluice/cmd/sluice/internal/systemd"
	"sluice/configs"
)

// TestPassedSockets: by address first, then by name, and what nobody takes is named.
func TestPassedSockets(t *testing.T) {
	tcp := func(name, address string) systemd.Socket {
		return systemd.Socket{Name: name, TCP: netip.MustParseAddrPort(address)}
	}
	every := systemd.Socket{Name: "sluice.socket", TCP: netip.AddrPortFrom(netip.Addr{}, 443)}
	unix := systemd.Socket{Name: "sluice.socket", Unix: "/run/web.sock"}
	f := func(sockets passedSockets, warning string, web, mail []string) {
		t.Helper()
		file, err := configs.Parse("sluice.yaml", []byte(`
listeners:
  web: {bind: [":443", "10.0.0.1:80", "unix:/run/web.sock"], pool: app}
  mail: {bind: "10.0.0.1:25", pool: app}
pools:
  app: {backends: ["10.0.0.2:80"]}
`))
		if err != nil {
			t.Fatal(err)
		}
		sockets.giveTo(file)
		for i, want := range [][]string{web, mail} {
			var got []string
			for _, a := range file.Listeners[i].Bind {
				got = append(got, a.String())
			}
			if !slices.Equal(got, want) {
				t.Errorf("listener %s has %v, want %v", file.Listeners[i].Name, got, want)
			}
		}
		var warnings []string
		for _, w := range file.Warnings {
			warnings = append(warnings, w.String())
		}
		if got := strings.Join(warnings, "\n"); !strings.Contains(got, warning) || (got == "") != (warning == "") {
			t.Errorf("got the warning %q, want %q in it", got, warning)
		}
		if len(sockets.inherited()) != len(sockets) {
			t.Errorf("the data path is given %v", sockets.inherited())
		}
	}
	own, other := []string{":443", "10.0.0.1:80", "unix:/run/web.sock"}, []string{"10.0.0.1:25"}
	f(nil, "", own, other)
	f(passedSockets{every, unix}, "", own, other)
	// The name of another listener does not matter where the address is one's own.
	f(passedSockets{tcp("mail", "10.0.0.1:80")}, "", own, other)
	// A name stands for what nobody has opened, and adds to what somebody has.
	f(passedSockets{tcp("mail", "10.0.0.9:25")}, "", own, []string{"10.0.0.9:25"})
	f(passedSockets{tcp("mail", "10.0.0.9:25"), tcp("mail", "[::1]:25"), every}, "", own, []string{"10.0.0.9:25", "[::1]:25"})
	f(passedSockets{every, tcp("web", "10.0.0.9:80")}, "", []string{":443", "10.0.0.9:80"}, other)
	f(passedSockets{tcp("sluice.socket", "0.0.0.0:443")}, `LISTEN_FDS: the service manager has opened a socket at 0.0.0.0:443 `+
		`under the name "sluice.socket", and no listener takes it: write its address into bind`, own, other)
	f(passedSockets{every, every}, `at :443 under the name "sluice.socket", and no listener takes the second socket`, own, other)
}
