package tlshello

import (
	"iter"

	"golang.org/x/crypto/cryptobyte"
)

// A Hello is what a ClientHello says of where its client wants to go. With Encrypted Client Hello it is what the outer
// one says, which is all that anyone but the server can read. It does not keep the bytes it was read from.
type Hello struct {
	ServerName string       // lower-case, without a trailing dot; "" = none
	Protocols  ProtocolList // of ALPN, in the client's order of preference; "" = none
}

// A ProtocolList is a valid list of ALPN protocols as it is on the wire (RFC 7301,
// 3.1): before each protocol one byte of length, which is not 0.
type ProtocolList string

// All yields the protocols.
func (p ProtocolList) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		for len(p) > 0 {
			end := 1 + int(p[0])
			if !yield(string(p[1:end])) {
				return
			}
			p = p[end:]
		}
	}
}

// Fields of a ClientHello and of its extensions.
const (
	maxSessionID        = 32
	helloRandom         = 32
	extensionServerName = 0  // RFC 6066, 3
	extensionALPN       = 16 // RFC 7301
	nameTypeHost        = 0
)

// parseClientHello reads the body of a ClientHello (RFC 8446, 4.1.2; the same in all versions). It must be well formed
// as far as the extensions' own borders; of the extensions, server_name and ALPN are looked into.
func parseClientHello(body cryptobyte.String) (Hello, error) {
	var sessionID, suites, compression, extensions cryptobyte.String
	if !body.Skip(2+helloRandom) || // version and random
		!body.ReadUint8LengthPrefixed(&sessionID) || len(sessionID) > maxSessionID ||
		!body.ReadUint16LengthPrefixed(&suites) || len(suites) == 0 || len(suites)%2 != 0 ||
		!body.ReadUint8LengthPrefixed(&compression) || len(compression) == 0 {
		return Hello{}, ErrMalformed
	}
	if body.Empty() {
		return Hello{}, nil // before TLS 1.3 there need be no extensions
	}
	if !body.ReadUint16LengthPrefixed(&extensions) || !body.Empty() {
		return Hello{}, ErrMalformed
	}
	return parseExtensions(extensions)
}

// parseExtensions reads server_name and ALPN. Neither may be there twice (RFC 8446,
// 4.2): the server could take the other one.
func parseExtensions(extensions cryptobyte.String) (hello Hello, err error) {
	var names, protocols cryptobyte.String // nil = not there
	for !extensions.Empty() {
		var kind uint16
		var body cryptobyte.String
		if !extensions.ReadUint16(&kind) || !extensions.ReadUint16LengthPrefixed(&body) {
			return Hello{}, ErrMalformed
		}
		switch {
		case kind == extensionServerName && names == nil:
			names = body
		case kind == extensionALPN && protocols == nil:
			protocols = body
		case kind == extensionServerName || kind == extensionALPN:
			return Hello{}, ErrMalformed
		}
	}
	ok := true
	if names != nil {
		hello.ServerName, ok = parseServerName(names)
	}
	if ok && protocols != nil {
		hello.Protocols, ok = parseProtocols(protocols)
	}
	if !ok {
		return Hello{}, ErrMalformed
	}
	return hello, nil
}

// parseServerName reads the server_name extension. There may be other types of names than host_name, all with a length
// in front, but one of each type only (RFC 6066, 3). "Literal IPv4 and IPv6 addresses are not permitted", yet there are
// clients that send them: they have no name to be routed by, and their server may well not mind.
func parseServerName(body cryptobyte.String) (name string, ok bool) {
	var list, host cryptobyte.String
	if !body.ReadUint16LengthPrefixed(&list) || !body.Empty() || list.Empty() {
		return "", false
	}
	for !list.Empty() {
		var kind uint8
		var value cryptobyte.String
		if !list.ReadUint8(&kind) || !list.ReadUint16LengthPrefixed(&value) {
			return "", false
		}
		if kind != nameTypeHost {
			continue
		}
		if host != nil {
			return "", false
		}
		host = value
	}
	if host == nil {
		return "", true
	}
	if name, ok = FoldName(string(host)); !ok {
		return "", false
	}
	if IsAddress(name) {
		return "", true
	}
	return name, true
}

// parseProtocols reads the ALPN extension: a list that is not empty, of protocols that are not empty (RFC 7301, 3.1).
func parseProtocols(body cryptobyte.String) (ProtocolList, bool) {
	var list, protocol cryptobyte.String
	if !body.ReadUint16LengthPrefixed(&list) || !body.Empty() || list.Empty() {
		return "", false
	}
	for rest := list; !rest.Empty(); {
		if !rest.ReadUint8LengthPrefixed(&protocol) || len(protocol) == 0 {
			return "", false
		}
	}
	return ProtocolList(list), true
}
