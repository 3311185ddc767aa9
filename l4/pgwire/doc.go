// Package pgwire reads what of the protocol of Postgres a balancer must know: a client's
// first packet, a server's error before the login is done, and the key that it gives its
// client for cancel requests (PostgreSQL documentation, chapter 55 "Frontend/Backend
// Protocol"). It knows no session and no socket: it is given the bytes that have come.
package pgwire
