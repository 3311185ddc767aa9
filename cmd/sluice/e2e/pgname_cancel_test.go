package e2e

import (
	"context"
	"fmt"
	"strings"
)

// checkCancels presses Ctrl-C in psql. Its request comes in clear on a connection of its own, also where the session
// has TLS, and names neither server nor database: what is known of the login leads it to the server.
func (s *pgNames) checkCancels(r *rig) {
	address := r.address("named")
	all := []pgLogin{
		{host: firstName, sslmode: "verify-full"}, {host: secondName, sslmode: "verify-full"},
		{sslmode: "disable", database: "app1"}, {sslmode: "disable", database: "app2"},
	}
	inClear := len(all) / 2 // from here on
	var asleep, onlookers sleepers
	for i, l := range all {
		asleep = append(asleep, s.startSleeper(address, l, fmt.Sprint("cancelled", i)))
		onlookers = append(onlookers, s.startSleeper(address, l, fmt.Sprint("onlooker", i)))
	}
	s.untilAsleep(asleep)
	s.untilAsleep(onlookers)
	before := s.strayCancels()
	asleep[inClear:].interrupt()
	if n := s.strayCancels() - before; n != 0 {
		s.t.Errorf("%d cancels for sessions in clear have reached a server that they are not for", n)
	}
	asleep[:inClear].interrupt()
	onlookers.expectAsleep(s.cluster)
	onlookers.interrupt()
}

func (s *pgNames) startSleeper(address string, l pgLogin, name string) *sleeper {
	s.t.Helper()
	cmd := s.command(address, l, "psql", "-X", "-c", sleepLong)
	cmd.Env = append(cmd.Env, "PGAPPNAME="+name)
	return &sleeper{name: name, process: start(s.t, name, tempDir(s.t), cmd)}
}

// untilAsleep waits until the servers run the queries of all.
func (s *pgNames) untilAsleep(all sleepers) {
	s.t.Helper()
	until(s.t, "all queries run", func() error {
		at := s.asleep()
		for _, k := range all {
			if k.at = at[k.name]; k.at == "" {
				return fmt.Errorf("that of %s does not", k.name)
			}
		}
		return nil
	})
}

// checkGoCancels cancels queries by a program that asks in the way in which it has logged in, so that the name in TLS
// leads the request to the server.
func (s *pgNames) checkGoCancels(r *rig) {
	before := s.strayCancels()
	for _, address := range []string{r.address("named"), r.address("other")} {
		s.checkGoCancel(address, pgLogin{host: firstName, database: "postgres", sslmode: "verify-full"}, s.first)
		s.checkGoCancel(address, pgLogin{host: secondName, database: "postgres", sslmode: "verify-full"}, s.second)
		s.checkGoCancel(address, pgLogin{host: secondName, database: "app1", sslmode: "disable"}, s.first)
		s.checkGoCancel(address, pgLogin{host: secondName, database: "app2", sslmode: "disable"}, s.second)
	}
	if n := s.strayCancels() - before; n != 0 {
		s.t.Errorf("%d cancels have reached a server that they are not for", n)
	}
}

func (s *pgNames) checkGoCancel(address string, l pgLogin, want *member) {
	s.t.Helper()
	conn := s.connect(address, l)
	expectServer(s.t, conn, want)
	ctx, cancel := context.WithTimeout(s.t.Context(), patient)
	defer cancel()
	query := conn.Exec(ctx, sleepLong)
	until(s.t, "the query runs", func() error {
		if at := s.asleep()[""]; !strings.Contains(at, fmt.Sprintf(" %d|", conn.PID())) {
			return fmt.Errorf("%q does, without a name", at)
		}
		return nil
	})
	if err := conn.CancelRequest(ctx); err != nil {
		s.t.Errorf("%v: cancel: %v", l, err)
	}
	if _, err := query.ReadAll(); err == nil || !strings.Contains(err.Error(), cancelled) {
		s.t.Errorf("%v: a query that is cancelled ends with %v, want %q", l, err, cancelled)
	}
	if err := conn.Close(ctx); err != nil {
		s.t.Errorf("%v: close: %v", l, err)
	}
}
