package load

import (
	"bytes"
	"encoding/binary"
	"errors"
)

var errProxyHeader = errors.New("no PROXY header")

const (
	v2Signature = "\r\n\r\n\x00\r\nQUIT\n"
	v2Fixed     = 16 // signature, version, family, length
	v1Prefix    = "PROXY "
	v1Longest   = 107 // with the final CRLF
)

// proxyHeader returns the length of the PROXY header (v1 or v2) that b starts with; 0 with a nil error asks for more
// bytes. The content is skipped: what a balancer writes into it is for its own tests to check.
func proxyHeader(b []byte) (int, error) {
	switch {
	case startsLike(b, v2Signature):
		if len(b) < v2Fixed {
			return 0, nil
		}
		n := v2Fixed + int(binary.BigEndian.Uint16(b[14:]))
		if len(b) < n {
			return 0, nil
		}
		return n, nil
	case startsLike(b, v1Prefix):
		end := bytes.Index(b, []byte("\r\n"))
		if end >= 0 {
			return end + 2, nil
		}
		if len(b) < v1Longest {
			return 0, nil
		}
	}
	return 0, errProxyHeader
}

// startsLike reports whether b starts with prefix, as far as b goes.
func startsLike(b []byte, prefix string) bool {
	n := min(len(b), len(prefix))
	return string(b[:n]) == prefix[:n]
}
