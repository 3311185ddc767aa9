package pgwire

import (
	"bytes"
	"encoding/binary"
)

// startupMajor is the major version of a StartupMessage whose parameters can be
// read: 3, in the upper half of the code. Its minor versions change nothing here.
const startupMajor = 3

// ParseStartup reads the user and the database of a complete StartupMessage (PostgreSQL
// documentation, 55.7). ok is false when it is malformed or names no user, without
// which no server takes it.
//
// It reads as the server does (ProcessStartupPacket), or a client could show sluice one
// name and the server another: the last of two values counts, and an empty
// database is the one called as the user.
func ParseStartup(packet []byte) (user, database string, ok bool) {
	if len(packet) <= packetHead || binary.BigEndian.Uint32(packet[4:])>>16 != startupMajor {
		return "", "", false
	}
	rest := packet[packetHead:]
	var userValue, databaseValue []byte
	for len(rest) > 0 && rest[0] != 0 {
		name, afterName, _ := bytes.Cut(rest, []byte{0})
		value, afterValue, terminated := bytes.Cut(afterName, []byte{0})
		if !terminated {
			return "", "", false
		}
		switch string(name) {
		case "user":
			userValue = value
		case "database":
			databaseValue = value
		}
		rest = afterValue
	}
	// After the last pair there is one byte, and it is the last (expected
	// terminator as last byte).
	if len(rest) != 1 || len(userValue) == 0 {
		return "", "", false
	}
	user = string(userValue)
	if len(databaseValue) == 0 {
		return user, user, true
	}
	return user, string(databaseValue), true
}
