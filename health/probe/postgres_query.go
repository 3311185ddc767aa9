package probe

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// question is one statement, so that the answers belong together. Any role that may log in may ask it.
//
// The timeline is that of the WAL that is being written, the first 8 digits of its file's name: the one in the last
// checkpoint (pg_control_checkpoint) is the old one for a while after a promotion. So it is on a replica, until its next
// restartpoint, or the first flush of pages that the new timeline changed. It is known at once where a receiver runs and
// the role may see of what it does: a member of pg_read_all_stats or pg_monitor. For others received_tli is null, which
// greatest passes over.
//
// A replica has what it has received, or replayed: the position received is null before a receiver runs, and starts anew,
// at the start of a file, when one first does. Whether it lags, only a comparison with the others tells.
const question = `WITH server AS (SELECT pg_catalog.pg_is_in_recovery() AS replica)
SELECT replica,
	(SELECT system_identifier FROM pg_catalog.pg_control_system()),
	CASE WHEN NOT replica THEN pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn())
	ELSE greatest((SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),
		(SELECT min_recovery_end_timeline FROM pg_catalog.pg_control_recovery()),
		(SELECT received_tli FROM pg_catalog.pg_stat_wal_receiver))::text
	END,
	CASE WHEN NOT replica THEN pg_catalog.pg_current_wal_flush_lsn()
	ELSE greatest(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())
	END - '0/0'::pg_catalog.pg_lsn,
	CASE WHEN replica THEN pg_catalog.pg_last_wal_replay_lsn() - '0/0'::pg_catalog.pg_lsn END,
	CASE WHEN replica THEN
		(extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp()) * 1000000)::bigint
	END
FROM server`

var errOddAnswer = errors.New("an answer of another form than expected")

// query asks over conn. After an error conn may be closed.
func query(ctx context.Context, conn *pgconn.PgConn) (DatabaseAnswer, error) {
	nextQuestion(conn.Conn())
	results, err := conn.Exec(ctx, question).ReadAll()
	if err == nil {
		var said DatabaseAnswer
		if said, err = parseAnswer(results); err == nil {
			return said, nil
		}
	}
	if answer := (*pgconn.PgError)(nil); errors.As(err, &answer) {
		err = serverError{answer}
	}
	return DatabaseAnswer{}, fmt.Errorf("query: %w", plainly(ctx, overrun(conn.Conn(), err)))
}

func parseAnswer(results []*pgconn.Result) (DatabaseAnswer, error) {
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 6 {
		return DatabaseAnswer{}, errOddAnswer
	}
	row := results[0].Rows[0]
	system, err := strconv.ParseInt(string(row[1]), 10, 64) // a bigint, of which all bits count
	if err != nil {
		return DatabaseAnswer{}, errOddAnswer
	}
	said := DatabaseAnswer{Primary: string(row[0]) == "f", System: uint64(system)}
	if said.Has, err = position(row[3]); err != nil {
		return said, err
	}
	said.Whole = whole(said.Has)
	if said.Primary {
		said.Timeline, err = timeline(row[2])
		return said, err
	}
	if said.Replayed, err = position(row[4]); err != nil {
		return said, err
	}
	said.Whole = max(said.Whole, said.Replayed)
	if row[2] != nil {
		if said.Timeline, err = number(row[2], 10); err != nil {
			return said, err
		}
	}
	if row[5] != nil {
		said.Age, err = age(row[5])
		said.AgeKnown = true
	}
	return said, err
}

// position returns a position in the WAL, 0 for null.
func position(text []byte) (uint64, error) {
	if text == nil {
		return 0, nil
	}
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return 0, errOddAnswer
	}
	return n, nil
}

const (
	walPage   = 8 << 10  // of a server that was built as usual
	walRecord = 64 << 10 // few records are longer: two images of pages and a header are 17 KiB
)

// whole returns a position before has that no record reaches across. A commit flushes whole records, but the WAL writer
// and whoever needs room write full pages, and the last record in them may have its end in the next one. There it waits,
// for up to 15 s when nobody commits, and no replica can replay it.
func whole(has uint64) uint64 {
	if has%walPage != 0 {
		return has
	}
	return has - min(has, walRecord)
}

// timeline returns the timeline in the name of a WAL file.
func timeline(file []byte) (uint32, error) {
	if len(file) != 24 {
		return 0, errOddAnswer
	}
	return number(file[:8], 16)
}

func number(text []byte, base int) (uint32, error) {
	n, err := strconv.ParseUint(string(text), base, 32)
	if err != nil {
		return 0, errOddAnswer
	}
	return uint32(n), nil
}

// age returns an age written in microseconds. The two servers' clocks may differ: there is no negative age.
func age(text []byte) (time.Duration, error) {
	microseconds, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return 0, errOddAnswer
	}
	return max(0, time.Duration(microseconds)*time.Microsecond), nil
}
