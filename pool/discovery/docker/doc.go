// Package docker is a source of backends: the containers of a Docker Engine that say by their labels that they are of a
// pool.
//
// All sources of one engine share a connection (engine.go): a stream of events, and a list of the containers that is asked
// for again when an event may have changed it. What a container's state is comes from both: the engine tells some things
// before it can list them (marks.go), and that a container is about to end is told by an event alone. Source makes backends
// of the containers of one pool (backend.go, labels.go).
//
// A container serves while it runs, is not paused, is not being stopped, and is healthy where it has a health check of the
// engine's. Nobody needs more of the engine's API than GET /_ping, /version, /containers/json, /containers/ID/json and
// /events, so that a proxy which allows nothing else can stand before its socket.
package docker
