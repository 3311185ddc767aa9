package probe

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	mysqlColumnsMost = 200 // the state of a replica has 60 or so
	mysqlRowsMost    = 256 // one for each source, or variable
)

// query returns the rows of an answer, by the names of the columns; null is "".
func (c *mysqlConn) query(sql string) ([]map[string]string, error) {
	if err := c.wire.command(mysqlQuery, sql); err != nil {
		return nil, err
	}
	payload, err := c.wire.read()
	if err != nil {
		return nil, err
	}
	count := cursor{rest: payload}
	columns := count.length()
	if count.short || columns == 0 || columns > mysqlColumnsMost {
		return nil, errOddPacket
	}
	names := make([]string, columns)
	for i := range names {
		if payload, err = c.wire.read(); err != nil {
			return nil, err
		}
		column := cursor{rest: payload}
		for range 4 { // catalog, schema, table, original table
			column.text()
		}
		names[i] = column.text()
	}
	if payload, err = c.wire.read(); err == nil && !isMySQLEOF(payload) {
		err = errOddPacket
	}
	if err != nil {
		return nil, err
	}
	return c.rows(names)
}

func (c *mysqlConn) rows(names []string) (rows []map[string]string, err error) {
	for len(rows) <= mysqlRowsMost {
		payload, err := c.wire.read()
		if err != nil {
			return nil, err
		}
		if isMySQLEOF(payload) {
			return rows, nil
		}
		row, values := make(map[string]string, len(names)), cursor{rest: payload}
		for _, name := range names {
			row[name] = values.text()
		}
		if values.short {
			return nil, errOddPacket
		}
		rows = append(rows, row)
	}
	return nil, errOddPacket
}

// isMySQLEOF tells the end of columns, or rows, from a row that begins with a very long text.
func isMySQLEOF(payload []byte) bool { return payload[0] == mysqlEOF && len(payload) < 9 }

// settings returns rows of a name and a value as what they are.
func (c *mysqlConn) settings(sql string) (map[string]string, error) {
	rows, err := c.query(sql)
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	settings := make(map[string]string, len(rows))
	for _, row := range rows {
		settings[strings.ToLower(row["Variable_name"])] = row["Value"]
	}
	return settings, nil
}

// answer asks for what makes a DatabaseAnswer.
func (c *mysqlConn) answer() (a DatabaseAnswer, err error) {
	// Not every server has each of them, and a SELECT of one that is unknown fails.
	is, err := c.settings("SHOW GLOBAL VARIABLES WHERE Variable_name IN " +
		"('read_only', 'super_read_only', 'innodb_read_only', 'offline_mode', 'server_id', 'wsrep_on')")
	if err != nil {
		return a, err
	}
	if isOn(is["offline_mode"]) {
		return a, unfitError("offline_mode is on")
	}
	if isOn(is["wsrep_on"]) {
		if err := c.lookGalera(); err != nil {
			return a, err
		}
	}
	if a.ID, err = strconv.ParseUint(is["server_id"], 10, 64); err != nil {
		return a, fmt.Errorf("query: server_id is %s", quoted([]byte(is["server_id"])))
	}
	// Readers of Amazon's Aurora have but innodb_read_only.
	readOnly := isOn(is["read_only"]) || isOn(is["super_read_only"]) || isOn(is["innodb_read_only"])
	a.Primary, a.System = !readOnly, a.ID
	if !c.replication {
		return a, nil
	}
	return a, c.askReplication(&a)
}

// isOn reads a switch. read_only has more words than two in MariaDB since 12.0.
func isOn(value string) bool {
	switch strings.ToUpper(value) {
	case "", "0", "OFF":
		return false
	}
	return true
}

// lookGalera returns an error when a node of a Galera cluster does not take statements, or has not caught up with the
// cluster: 4 is Synced, of all states of a node the one that is asked for by clustercheck.
func (c *mysqlConn) lookGalera() error {
	is, err := c.settings("SHOW GLOBAL STATUS WHERE Variable_name IN " +
		"('wsrep_ready', 'wsrep_local_state', 'wsrep_local_state_comment')")
	switch {
	case err != nil:
		return err
	case is["wsrep_local_state"] != "4":
		return unfitError(fmt.Sprintf("wsrep_local_state is %s, %s, want 4, Synced",
			oneLine(is["wsrep_local_state"]), oneLine(is["wsrep_local_state_comment"])))
	case !isOn(is["wsrep_ready"]):
		return unfitError("wsrep_ready is off")
	}
	return nil
}

// denied reports whether the user may not ask that: 1227, a privilege is missing.
func denied(err error) bool {
	var said serverErrorOfMySQL
	return errors.As(err, &said) && said.number == 1227
}

// unknownStatement reports whether the server has no such statement.
func unknownStatement(err error) bool {
	var said serverErrorOfMySQL
	return errors.As(err, &said) && said.number == 1064
}

// queryFirst asks by the first statement that the server knows. Each name of what is asked for is of some versions only.
func (c *mysqlConn) queryFirst(statements ...string) (rows []map[string]string, err error) {
	for _, sql := range statements {
		if rows, err = c.query(sql); !unknownStatement(err) {
			break
		}
	}
	return rows, err
}
