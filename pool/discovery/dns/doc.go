// Package dns is a source of backends: the addresses that a name has in DNS, or the servers that an SRV name lists.
//
// A look-up is one or more questions: A and AAAA side by side, SRV and then the names of its servers, the names of a search
// list one after the other. Each question goes to the resolvers in their order until one has an answer.
//
//	source ── look-up ── question ── server ── packet
//	 when      which       who        how       what is in it
//
// An answer is all that there is, so it must not lack anything by accident:
//
//   - No address is an answer only where the server says so, by NXDOMAIN or with the SOA of the zone. Every other reply
//     without records is none, and neither is what is truncated, damaged or meant for another question.
//   - A question that fails (one family, one server of SRV, one name of the search list) spoils the answer if it had records
//     the last time. It is not known whether they are still there, and backends would go for no reason. Otherwise the rest is
//     the answer, with a warning, and the failed question comes again soon: a server that does not know AAAA, or a zone of
//     the search list that is down for good, would keep out everything else for ever.
//   - What did not come along with SRV is asked for.
//
// It is asked for again when the least TTL on the way to it is over, and not sooner or later than Config says.
package dns
