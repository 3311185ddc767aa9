package health

import "sluice/pool/words"

// Role is which servers of a database a pool wants. A primary of Postgres is not in recovery, one of MySQL is not
// read_only, and a replica is the other kind.
type Role uint8

const (
	// RoleAny takes every server that answers.
	RoleAny Role = iota
	// RolePrimary takes the one that is the primary, and none while it is not clear which one that is.
	RolePrimary
	// RoleReplica takes replicas.
	RoleReplica
	// RolePreferReplica takes replicas, and the primary only while there is none.
	RolePreferReplica
)

var roleWords = words.Table[Role]{Type: "Role", What: "role", Words: []string{
	RoleAny: "any", RolePrimary: "primary", RoleReplica: "replica", RolePreferReplica: "prefer_replica",
}}

// Roles returns the word of every role, for messages that say what can be written.
func Roles() []string { return roleWords.All() }

// String returns the role's word, such as "primary".
func (r Role) String() string { return roleWords.Of(r) }

// UnmarshalText sets the role from its word.
func (r *Role) UnmarshalText(text []byte) error { return roleWords.Unmarshal(text, r) }
