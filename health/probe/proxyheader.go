package probe

import (
	"fmt"
	"net"

	"github.com/pires/go-proxyproto"
)

// proxyHeader returns the PROXY header of a probe. The specification wants of a health check that it says LOCAL, which
// version 1 cannot: there the probe's own connection is announced, as of any client.
func proxyHeader(version uint8, conn net.Conn) ([]byte, error) {
	header := &proxyproto.Header{Version: version, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	if version == 1 {
		header = proxyproto.HeaderProxyFromAddrs(1, conn.LocalAddr(), conn.RemoteAddr())
		if header.TransportProtocol != proxyproto.TCPv4 && header.TransportProtocol != proxyproto.TCPv6 {
			// A Unix socket: version 1 has "UNKNOWN" for it.
			header = &proxyproto.Header{Version: 1, Command: proxyproto.PROXY, TransportProtocol: proxyproto.UNSPEC}
		}
	}
	raw, err := header.Format()
	if err != nil {
		return nil, fmt.Errorf("build PROXY header: %w", err)
	}
	return raw, nil
}

// prefixed is a connection that sends something ahead of the first bytes that are written, in the same segment.
type prefixed struct {
	net.Conn
	prefix []byte // not sent yet
}

func (c *prefixed) Write(p []byte) (int, error) {
	if c.prefix == nil {
		return c.Conn.Write(p)
	}
	ahead := len(c.prefix)
	n, err := c.Conn.Write(append(c.prefix, p...))
	c.prefix = nil
	return max(n-ahead, 0), err
}

// NetConn returns the connection below.
func (c *prefixed) NetConn() net.Conn { return c.Conn }

// sendPrefix sends what is to be ahead of everything, where the server speaks first or nothing else is sent.
func sendPrefix(conn net.Conn) error {
	if c, ok := conn.(*prefixed); ok && c.prefix != nil {
		_, err := c.Write(nil)
		return err
	}
	return nil
}
