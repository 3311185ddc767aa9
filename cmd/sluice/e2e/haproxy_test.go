package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"sluice/sysutil/systest"
)

const haproxyGlobal = `
global
	maxconn 200
	log stdout format raw local0
defaults
	log global
	mode tcp
	option tcplog
	timeout connect 5s
	timeout client 30s
	timeout server 30s
`

// startHAProxy runs HAProxy with a configuration that listens on a port.
func startHAProxy(t *testing.T, name string, port int, config string) *process {
	t.Helper()
	dir := tempDir(t)
	file := filepath.Join(dir, "haproxy.cfg")
	writeFile(t, file, haproxyGlobal+config)
	p := start(t, name, dir, exec.Command(program(t, "haproxy"), "-db", "-f", file))
	p.untilListening(port)
	return p
}

// frontConfig sends what it accepts to sluice, with a PROXY header.
const frontConfig = `
frontend front
	bind 127.0.0.1:%d %s
	unique-id-format id-%%ci-%%cp
	default_backend sluice
backend sluice
	server sluice %s %s
`

// startFront runs an HAProxy in front of sluice and returns its address. bind has options of the listening side, server
// those of the side to sluice.
func startFront(t *testing.T, sluice, bind, server string) string {
	t.Helper()
	port := systest.ReservePort(t)
	startHAProxy(t, "front", port, fmt.Sprintf(frontConfig, port, bind, sluice, server))
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// behindConfig reads sluice's header and answers with what it said: the client, and the TLVs authority and unique ID.
const behindConfig = `
frontend behind
	mode http
	option httplog
	bind 127.0.0.1:%d accept-proxy
	http-request set-header X-Client %%[src]:%%[src_port]/%%[fc_pp_authority]/%%[fc_pp_unique_id]
	%s
`

// behindEcho makes it answer by itself.
const behindEcho = `http-request return status 200 content-type text/plain lf-string "%[req.hdr(X-Client)]"`

// startBehind runs an HAProxy behind sluice, which sends requests to a node, or answers them when that is nil.
func startBehind(t *testing.T, port int, to *node) *process {
	t.Helper()
	action := behindEcho
	if to != nil {
		action = fmt.Sprintf("default_backend node\nbackend node\n\tmode http\n\tserver node 127.0.0.1:%d", to.port)
	}
	return startHAProxy(t, "behind", port, fmt.Sprintf(behindConfig, port, action))
}
