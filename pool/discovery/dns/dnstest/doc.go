// Package dnstest runs real DNS servers for the tests of several packages: Knot DNS, which has a zone, and dnsmasq, which has
// a hosts file.
package dnstest
