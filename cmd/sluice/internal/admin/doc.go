// Package admin is how a running sluice is asked, and told what to change: an HTTP API, metrics for Prometheus, and health
// answers for whatever supervises it.
//
//	admin.metrics (TCP) ──► readOnly ──► metrics and readiness alone
//	admin.listen (TCP) ──► allowed ──► readOnly ──┐
//	                                              ├──► endpoints that read ──► Stats of l4, pool and health
//	control socket (0600) ────────────────────────┤
//	                                              └──► endpoints that change, one after the other ──► Control
//
// When another process takes over, Pause leaves new requests to the kernel's backlog, Hand and Adopt move the listeners,
// and Carry and Assume what was counted: nobody is refused, and no counter goes back.
//
// The table of endpoints is what is served and what /api/v1/openapi.json describes.
//
// The package belongs to the program, not to the engine: it reads copies of counters and never reaches into the data path;
// only the list of open sessions is made by the event loops, for one request at a time at each address, and some hundreds
// of sessions at a time. The only calls that come from event loops are those of Metrics, which say so.
package admin
