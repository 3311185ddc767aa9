package probe

import "time"

// DatabaseAnswer is what a server of Postgres, MySQL or MariaDB says of itself.
//
// Positions count bytes: in the WAL of a Postgres cluster, or in the binary log of one MySQL server, where the number of
// the file comes before the bytes.
type DatabaseAnswer struct {
	// Primary is true for a Postgres server that is not in recovery, and for one of MySQL that is not read_only.
	Primary bool `json:"primary,omitempty"`
	// System tells whose log the positions are of: that of a Postgres cluster, by its system identifier, or that of the
	// MySQL server with this server_id, which is the source of a replica and the server itself otherwise.
	System uint64 `json:"system,omitempty"`
	// Timeline is the one that a Postgres primary writes. Of a replica: the one it replays, which it tells at its next
	// restartpoint or page flush after a promotion, and at once to members of pg_read_all_stats; 0 = unknown.
	Timeline uint32 `json:"timeline,omitempty"`
	// ID is the server_id of a server of MySQL; 0 for Postgres.
	ID uint64 `json:"id,omitempty"`
	// Source is the server_id of whom it replicates from at the moment; 0 = from nobody, or not allowed to tell.
	Source    uint64 `json:"source,omitempty"`
	Connected bool   `json:"connected,omitempty"` // to its source

	// Has is up to where the log is that the server has: of a primary what it has flushed, which is all that a replica
	// can get, of a replica what it has received or replayed; 0 = unknown.
	Has uint64 `json:"has,omitempty"`
	// Whole is a position up to Has that no record reaches across: all before it can be replayed.
	Whole uint64 `json:"whole,omitempty"`
	// Replayed is up to where a replica has replayed, always the end of a record; 0 for a primary, or unknown.
	Replayed uint64 `json:"replayed,omitempty"`
	// Age is that of the last transaction that a replica replayed. A replica that lags does so by no more, but a
	// database without writes has replicas of any age that do not lag.
	Age      time.Duration `json:"age,omitempty"`
	AgeKnown bool          `json:"age_known,omitempty"` // false for a primary, and for a replica that has replayed no transaction since it started
	// Trouble says why a replica cannot tell how far it has replayed; "" = it can, or nobody knows why not.
	Trouble string `json:"trouble,omitempty"`
}
