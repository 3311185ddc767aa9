package admin

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// knownHost refuses requests for a host that is none of ours. A page in somebody's browser can make its own name lead to
// this address (DNS rebinding), and would then read every answer: the browser takes it for the page's own server. It
// cannot do so with an address, or with localhost. A request without a host comes from no browser.
func knownHost(names func() []string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host := hostName(r.Host); !isKnown(host, names()) {
			http.Error(w, fmt.Sprintf("host %.80q is not known here: add the name to admin.hosts", host),
				http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// allowed refuses requests of clients that are of none of some networks; without networks, none.
func allowed(networks func() []netip.Prefix, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		of, _ := netip.ParseAddrPort(r.RemoteAddr)
		client := of.Addr().Unmap().WithZone("")
		contains := func(n netip.Prefix) bool { return n.Contains(client) }
		if all := networks(); len(all) > 0 && !slices.ContainsFunc(all, contains) {
			http.Error(w, fmt.Sprintf("%s may not ask here: add its network to admin.listen.allow", client), http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// hostName returns a Host header without its port and the dot at the end of a complete name.
func hostName(header string) string {
	if host, _, err := net.SplitHostPort(header); err == nil {
		header = host
	}
	header = strings.TrimSuffix(strings.TrimPrefix(header, "["), "]") // of an IPv6 address without a port
	return strings.ToLower(strings.TrimSuffix(header, "."))
}

func isKnown(host string, names []string) bool {
	if host == "" || host == "localhost" || slices.Contains(names, host) {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}
