// Package labels makes a configuration of what containers say of themselves by labels: listeners, their routes, and pools
// whose backends the containers are.
//
//	sluice.listen=:5432          addresses that clients connect to, with commas between them
//	sluice.protocol=tls          of these listeners: tcp, tls or postgres; tcp when no label says so
//	sluice.sni=a.example.com     for which names the container's pool is; none = for all that no other pool is for
//	sluice.pool=app              the pool; package docker has what else is said of one backend
//	sluice.send_proxy=v2         keys of the pool, like sluice.balance and sluice.check, which is the type of its check
//
// Containers may contradict each other. What the older one says counts, and the newer one is left out with a warning, so
// that nothing that serves is taken away by what is started later. Text is the configuration of containers that may all
// have their say; Resolve finds out which these are, together with the files that there are: those come before any container.
package labels
