package pgwire

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"sluice/l4/pgwire/pgtest"
)

// parameters is a StartupMessage of protocol 3.0; each string is a name or a value.
func parameters(pairs ...string) []byte {
	var body []byte
	for _, s := range pairs {
		body = append(append(body, s...), 0)
	}
	return pgtest.Packet(pgtest.Version30, body, []byte{0})
}

func TestStartupParams(t *testing.T) {
	f := func(data []byte, user, database string) {
		t.Helper()
		if u, d, ok := ParseStartup(data); !ok || u != user || d != database {
			t.Errorf("%q: %q, %q, %v; want %q, %q", data, u, d, ok, user, database)
		}
	}
	f(parameters("user", "alice"), "alice", "alice")
	f(parameters("user", "alice", "database", "shop"), "alice", "shop")
	f(parameters("database", "shop", "user", "alice"), "alice", "shop")
	f(parameters("user", "alice", "database", ""), "alice", "alice")
	f(parameters("options", "-c geqo=off", "user", "alice", "application_name", "", "database", "shop"), "alice", "shop")
	f(parameters("user", "alice", "replication", "true"), "alice", "alice")
	f(parameters("user", "alice", "_pq_.some", "thing", "database", "shop"), "alice", "shop")
	f(parameters("User", "bob", "user", "alice", "database ", "no"), "alice", "alice")
	f(parameters("user", "database", "database", "user"), "database", "user")
	f(parameters("options", "user", "user", "alice"), "alice", "alice")
	f(parameters("user", "alice", "options", "database"), "alice", "alice")
	f(parameters("user", "Älice \n\xff", "database", "Shop"), "Älice \n\xff", "Shop")
	f(pgtest.Packet(pgtest.Version32, []byte("user\x00a\x00\x00")), "a", "a")
	// The server takes the last one.
	f(parameters("user", "alice", "user", "bob"), "bob", "bob")
	f(parameters("user", "alice", "database", "a", "database", "b"), "alice", "b")
	f(parameters("user", "alice", "database", "a", "database", ""), "alice", "alice")
	long := strings.Repeat("x", 9000)
	f(parameters("user", long), long, long)
}

func TestStartupParamsFails(t *testing.T) {
	f := func(data []byte) {
		t.Helper()
		if user, database, ok := ParseStartup(data); ok || user != "" || database != "" {
			t.Errorf("%q: %q, %q, %v", data, user, database, ok)
		}
	}
	f(nil)
	f([]byte{0, 0, 0, 8})
	f(pgtest.Packet(pgtest.Version30))
	f(pgtest.Packet(pgtest.Version30, []byte{0}))
	f(parameters("database", "shop"))
	f(parameters("user", ""))
	f(parameters("user", "alice", "user", ""))
	f(pgtest.Packet(pgtest.Version30, []byte("user")))
	f(pgtest.Packet(pgtest.Version30, []byte("user\x00")))
	f(pgtest.Packet(pgtest.Version30, []byte("user\x00\x00")))
	f(pgtest.Packet(pgtest.Version30, []byte("user\x00alice")))
	f(pgtest.Packet(pgtest.Version30, []byte("user\x00alice\x00")))
	f(pgtest.Packet(pgtest.Version30, []byte("user\x00alice\x00database\x00\x00")))
	f(pgtest.Packet(pgtest.Version30, []byte("user\x00alice\x00\x00\x00")))
	f(pgtest.Packet(pgtest.Version30, []byte("user\x00alice\x00\x00database\x00shop\x00\x00")))
	f(pgtest.Packet(pgtest.Version30, []byte("\x00user\x00alice\x00\x00")))
	f(pgtest.Packet(2<<16, []byte("user\x00alice\x00\x00")))
	f(pgtest.Packet(4<<16, []byte("user\x00alice\x00\x00")))
	f(pgtest.Packet(80877103, []byte("user\x00alice\x00\x00")))
}

func TestStartupParamsAllocations(t *testing.T) {
	f := func(want float64, data []byte) {
		t.Helper()
		if n := testing.AllocsPerRun(100, func() { ParseStartup(data) }); n != want {
			t.Errorf("%q: %v allocations, want %v", data, n, want)
		}
	}
	f(1, parameters("user", "alice"))
	f(2, parameters("user", "alice", "database", "shop"))
	f(0, parameters("database", "shop"))
}

// FuzzStartupParams compares with the rules of the server, written down in another way.
func FuzzStartupParams(f *testing.F) {
	f.Add(parameters("user", "alice", "database", "shop"))
	f.Add(parameters("user", "alice", "user", "", "database", "a", "database", ""))
	f.Add(pgtest.Packet(pgtest.Version32, []byte("user\x00a\x00\x00")))
	f.Add(pgtest.Packet(pgtest.Version30, []byte("user\x00alice\x00\x00database\x00shop\x00\x00")))
	f.Add(pgtest.Packet(pgtest.Version30, []byte("user\x00alice")))
	f.Add(pgtest.Packet(pgtest.Version30))
	f.Fuzz(func(t *testing.T, data []byte) {
		whole := bytes.Clone(data)
		user, database, ok := ParseStartup(data)
		if !bytes.Equal(data, whole) {
			t.Fatal("the input was changed")
		}
		wantUser, wantDatabase, wantOK := splitParams(data)
		if user != wantUser || database != wantDatabase || ok != wantOK {
			t.Fatalf("%q, %q, %v; want %q, %q, %v", user, database, ok, wantUser, wantDatabase, wantOK)
		}
	})
}

// splitParams reads a StartupMessage as a list of strings.
func splitParams(data []byte) (user, database string, ok bool) {
	if len(data) < 8 || data[4] != 0 || data[5] != 3 {
		return "", "", false
	}
	words := strings.Split(string(data[8:]), "\x00")
	end := slices.Index(words, "") // in an even place it ends the list, in an odd one it is an empty value
	for end >= 0 && end%2 == 1 {
		next := slices.Index(words[end+1:], "")
		if next < 0 {
			return "", "", false
		}
		end += 1 + next
	}
	if end != len(words)-2 || words[end+1] != "" {
		return "", "", false
	}
	values := map[string]string{}
	for i := 0; i+1 < end; i += 2 {
		values[words[i]] = words[i+1]
	}
	user, database = values["user"], values["database"]
	if database == "" {
		database = user
	}
	if user == "" {
		return "", "", false
	}
	return user, database, true
}
