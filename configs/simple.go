package configs

import (
	"context"
	"net"

	"sluice/pool"
)

// Simple returns the configuration of `sluice run --listen ADDRESS --backend ADDRESS`: one listener "default" on all of
// listen, one pool "default" with all of backends, the same defaults as a file has. Flags of run may still change the
// admin address, so it is not compared with listen here. The error is Problems; their File is the flag.
func Simple(listen, backends []string) (*File, error) {
	return simple(listen, backends, net.DefaultResolver.LookupNetIP)
}

func simple(listen, backends []string, lookup lookupFunc) (*File, error) {
	var f findings
	file := defaultFile()
	file.Listeners = []Listener{f.simpleListener(listen)}
	file.Pools = []Pool{f.simplePool(backends)}
	f.resolve(context.Background(), lookup)
	f.checkBinds()
	f.checkOwn()
	if len(f.problems) > 0 {
		return nil, f.result()
	}
	file.Warnings = f.warnings
	return file, nil
}

func (f *findings) simpleListener(listen []string) Listener {
	at := place{file: "--listen"}
	l := defaultListener("default")
	l.Pool = "default"
	var texts []string
	for _, text := range listen {
		ports, err := portRange(text)
		if err != nil {
			f.report(at, "%v", err)
		}
		texts = append(texts, ports...)
	}
	l.Bind = make([]pool.Address, len(texts))
	for i, text := range texts {
		f.address(at, text, addressRules{listen: true}, &l.Bind[i])
		f.binds = append(f.binds, bindSite{at: at, owner: "another --listen", address: &l.Bind[i], sessions: true})
	}
	if len(listen) == 0 {
		f.report(at, "no address to listen on: write one, for example --listen :8080")
	}
	return l
}

func (f *findings) simplePool(backends []string) Pool {
	flag := place{file: "--backend"}
	p := defaultPool("default")
	seen := make(map[string]bool)
	written := make([]pool.BackendConfig, 0, len(backends)) // they stay where they are
	for _, text := range backends {
		at := len(written)
		written = append(written, defaultBackend())
		b := &written[at]
		b.Name = text
		if host := f.backendAddress(flag, text, &b.Address); host != "" {
			p.Entries = append(p.Entries, hostEntry(*b, host, false, at, flag.problem("", &f.shown)))
			written = written[:at]
		}
		if seen[text] {
			f.report(flag, "duplicate backend %s", quote(text))
		}
		seen[text] = true
	}
	p.Config.Backends = written
	if len(backends) == 0 {
		f.report(flag, "no backend: write one, for example --backend 10.0.0.1:80")
	}
	return p
}
