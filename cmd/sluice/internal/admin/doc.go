// Package admin is how a running sluice is asked: an HTTP API, metrics for Prometheus, and health answers for whatever
// supervises it.
//
//	TCP admin address ──► readOnly ──┐
//	                                 ├──► routes ──► Status, Sessions, Metrics ──► Stats of l4, pool and health
//	control socket (0600) ───────────┘
//
// It belongs to the program, not to the engine: it reads copies of counters and never reaches into the data path; only
// the list of open sessions is made by the event loops, for one request at a time, and bounded. The only calls that come
// from event loops are those of Metrics, which say so.
package admin
