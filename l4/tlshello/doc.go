// Package tlshello reads the ClientHello with which a client of TLS begins, as far as it says where the client wants to
// go, and has the alerts for what is none. It knows no session and no socket: it is given the bytes that have come.
package tlshello
