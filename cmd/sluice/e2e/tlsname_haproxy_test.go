package e2e

import (
	"fmt"
	"strings"
	"testing"

	"sluice/sysutil/systest"
)

// tlvConfig has a listener for clients and one for an earlier hop.
const tlvConfig = `
listeners:
  near:
    bind: "127.0.0.1:0"
    protocol: tls
    routes: [{sni: [shop.example.com], pool: shop}]
  far:
    bind: "127.0.0.1:0"
    protocol: tls
    routes: [{sni: [shop.example.com], pool: shop}]
    accept_proxy: {from: [127.0.0.0/8], timeout: 30s}
pools:
  shop:
    send_proxy: v2
    tlvs: [authority, alpn, unique_id, crc32c]
    check: {interval: 500ms, timeout: 30s}
    backends: [{name: shop, address: "127.0.0.1:%d"}]
`

// tlvEcho ends TLS and answers with what the PROXY header said.
const tlvEcho = `
frontend echo
	mode http
	option httplog
	bind 127.0.0.1:%d accept-proxy ssl crt %s alpn h2,http/1.1
	http-request set-header X-Told "%%[src]:%%[src_port] %%[fc_pp_authority] %%[fc_pp_unique_id]"
	http-request return status 200 content-type text/plain lf-string "%%[req.hdr(X-Told)]"
`

// HAProxy checks the checksum of the header, and is told of name and ID; an ID that an earlier hop gave is kept.
func TestTLVsToHAProxy(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	port := systest.ReservePort(t)
	startHAProxy(t, "echo", port, fmt.Sprintf(tlvEcho, port, a.issue("shop", "shop.example.com").bundle(t)))
	r := startSluice(t, fmt.Sprintf(tlvConfig, port))
	r.untilUsable("shop", true)
	front := startFront(t, r.address("far"), "", "send-proxy-v2 proxy-v2-options crc32c,unique-id")
	trusted := certificate{host: "shop.example.com", file: a.file}
	for i, address := range []string{r.address("near"), front} {
		client, answer := curlTold(t, "127.0.4.1", secureCurl(trusted, address, "/")...)
		told := strings.Fields(answer)
		if len(told) != 3 || told[0] != client.String() || told[1] != trusted.host {
			t.Fatalf("HAProxy was told %q, the client is %v", answer, client)
		}
		if given := fmt.Sprintf("id-%v-%d", client.Addr(), client.Port()); address == front && told[2] != given {
			t.Errorf("the ID is %q, the earlier hop said %q", told[2], given)
		}
		until(t, "the session is logged", func() error {
			if n := len(r.sessions()); n <= i {
				return fmt.Errorf("there are %d", n)
			}
			return nil
		})
		if s := r.sessions()[i]; s.UniqueID != told[2] || s.ServerName != told[1] || s.Client != told[0] {
			t.Errorf("HAProxy was told %q, and sluice logs %+v", answer, s)
		}
	}
}
