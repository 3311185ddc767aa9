package probe

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// askReplication adds how the server replicates, and how far it has got. A user who may not see that is told so when it
// matters: in Trouble.
func (c *mysqlConn) askReplication(a *DatabaseAnswer) error {
	channels, err := c.queryFirst(c.replicaStatements()...)
	if denied(err) {
		if !a.Primary {
			a.System, a.Trouble = 0, "the check's user may not see its replication: GRANT REPLICATION CLIENT, of MariaDB SLAVE MONITOR"
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("query the state of replication: %w", err)
	}
	for i, row := range channels {
		channels[i] = olderNames(row)
	}
	a.Source, a.Connected = sourceOf(channels)
	if a.Source == 0 && a.Primary {
		return c.askPosition(a)
	}
	a.follow(channels)
	return nil
}

// replicaStatements returns how the state of a replica is asked for, of all its sources. MariaDB has the state of all of
// them in a statement of its own. MySQL has forgotten the second statement since 8.4, and learned the first in 8.0.22.
func (c *mysqlConn) replicaStatements() []string {
	if strings.Contains(c.version, "MariaDB") {
		return []string{"SHOW ALL SLAVES STATUS"}
	}
	return []string{"SHOW REPLICA STATUS", "SHOW SLAVE STATUS"}
}

// olderNames returns a row with the names of columns that MariaDB, and MySQL up to 8.0.21, have.
func olderNames(row map[string]string) map[string]string {
	older := make(map[string]string, len(row))
	for name, value := range row {
		name = strings.ReplaceAll(name, "Source", "Master")
		older[strings.ReplaceAll(name, "Replica", "Slave")] = value
	}
	return older
}

// sourceOf returns the server that a replica gets something from, or applies something of.
func sourceOf(channels []map[string]string) (id uint64, connected bool) {
	for _, row := range channels {
		if stopped(row["Slave_IO_Running"]) && stopped(row["Slave_SQL_Running"]) {
			continue
		}
		if id, err := strconv.ParseUint(row["Master_Server_Id"], 10, 64); err == nil && id > 0 {
			return id, row["Slave_IO_Running"] == "Yes"
		}
	}
	return 0, false
}

func stopped(running string) bool { return running == "" || running == "No" }

// askPosition adds how far a primary has written its binary log, which it may not have.
func (c *mysqlConn) askPosition(a *DatabaseAnswer) error {
	rows, err := c.queryFirst("SHOW MASTER STATUS", "SHOW BINARY LOG STATUS")
	if denied(err) || err == nil && len(rows) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("query the binary log: %w", err)
	}
	a.Has = binlogPosition(rows[0]["File"], rows[0]["Position"])
	a.Whole = a.Has
	return nil
}

// follow adds how far a replica has got, on the channel that is furthest behind.
func (a *DatabaseAnswer) follow(channels []map[string]string) {
	if len(channels) == 0 {
		a.Trouble = "it replicates from nobody"
		return
	}
	worst := channels[0]
	for _, row := range channels[1:] {
		if behind(row) > behind(worst) {
			worst = row
		}
	}
	a.System, _ = strconv.ParseUint(worst["Master_Server_Id"], 10, 64)
	if stopped(worst["Slave_SQL_Running"]) {
		a.Trouble = "its replication is stopped"
		if why := worst["Last_SQL_Error"]; why != "" {
			a.Trouble += ": " + oneLine(why)
		}
		return
	}
	a.Has = binlogPosition(worst["Master_Log_File"], worst["Read_Master_Log_Pos"])
	a.Replayed = binlogPosition(worst["Relay_Master_Log_File"], worst["Exec_Master_Log_Pos"])
	a.Whole = a.Has
	if strings.Contains(worst["Slave_SQL_Running_State"], "read all relay log") {
		a.Whole = a.Replayed // there may be half a transaction more, from a source that is gone
	}
	if seconds, err := strconv.ParseUint(worst["Seconds_Behind_Master"], 10, 32); err == nil {
		a.Age, a.AgeKnown = time.Duration(seconds)*time.Second, true
	}
}

// behind says which of several channels counts: one that is stopped, or else the one that lags most.
func behind(row map[string]string) int {
	if stopped(row["Slave_SQL_Running"]) {
		return 1 << 32
	}
	seconds, _ := strconv.ParseUint(row["Seconds_Behind_Master"], 10, 32) // null: as good as 0
	return int(seconds)
}

// binlogPosition returns a position in a binary log as one number: files are numbered, "bin.000012", and none is as
// large as 1 TiB. 0 = unknown.
func binlogPosition(file, position string) uint64 {
	number, err := strconv.ParseUint(file[strings.LastIndexByte(file, '.')+1:], 10, 24)
	if err != nil {
		return 0
	}
	bytes, err := strconv.ParseUint(position, 10, 40)
	if err != nil {
		return 0
	}
	return number<<40 | bytes
}
