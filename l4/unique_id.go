package l4

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
)

// A uniqueID names a session across processes, machines and restarts: the value
// of PP2_TYPE_UNIQUE_ID that goes to the backend and into the log.
type uniqueID [16]byte

// String returns 32 hexadecimal digits.
func (u uniqueID) String() string { return hex.EncodeToString(u[:]) }

// A uniqueIDPrefix is drawn once per process. Among a million processes two have
// the same one with a chance of 3 in 100 million.
type uniqueIDPrefix [8]byte

func newUniqueIDPrefix() (p uniqueIDPrefix) {
	rand.Read(p[:]) // never fails: the program ends before
	return p
}

// of returns the ID of a session of this process. It is made when it is needed
// and not kept: the session's own number is all that it takes.
func (p uniqueIDPrefix) of(session uint64) (u uniqueID) {
	copy(u[:], p[:])
	binary.BigEndian.PutUint64(u[len(p):], session)
	return u
}

// uniqueIDOf returns what the session is called between hops: what an earlier one has
// called it, or else what the backend is told, if it is told.
func (srv *Server) uniqueIDOf(s *session) string {
	switch {
	case s.names != nil && s.names.unique != "":
		return s.names.unique
	case s.target != nil && s.target.tlvs[TLVUniqueID]:
		return srv.uniqueIDs.of(s.id).String()
	}
	return ""
}

func (s *session) serverName() string {
	if s.names == nil {
		return ""
	}
	return s.names.server
}
