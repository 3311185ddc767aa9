// Package proxyheader reads the headers of the PROXY protocol, versions 1 and 2, says what is wrong with those that are
// none, and makes the ones that go on to a backend (sections are those of its specification, "The PROXY protocol", by
// HAProxy). It knows no session and no socket: it is given the bytes that have come. Formats are those of the
// go-proxyproto library, where that takes what the specification allows.
package proxyheader
