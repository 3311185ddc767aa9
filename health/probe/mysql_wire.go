package probe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// A client library would do, were it not for servers that are hostile: those that there are make room for as many
// columns, and bytes, as a server announces. What is needed of the protocol is a login and rows of text.

// mysqlPacketMost is the longest packet that is taken. Rows of what is asked have a few hundred bytes; errors of
// replication, which are quoted there, may be longer.
const mysqlPacketMost = 64 << 10

// The first bytes of packets: the server's answers, and commands.
const (
	mysqlOK       = 0x00
	mysqlMoreAuth = 0x01
	mysqlEOF      = 0xfe
	mysqlError    = 0xff
	mysqlNull     = 0xfb // in place of a text's length

	mysqlQuit  = 0x01
	mysqlQuery = 0x03
)

// mysqlWire reads and writes packets: the length in 3 bytes, the number in the exchange, the payload.
type mysqlWire struct {
	conn   net.Conn
	number byte // of the next packet
}

var errOddPacket = errors.New("a packet of another form than expected")

// read returns the payload of the next packet, which has a byte at least.
func (w *mysqlWire) read() ([]byte, error) {
	var header [4]byte
	if _, err := io.ReadFull(w.conn, header[:]); err != nil {
		return nil, err
	}
	length := int(header[0]) | int(header[1])<<8 | int(header[2])<<16
	if length == 0 || length > mysqlPacketMost || header[3] != w.number {
		return nil, fmt.Errorf("%w: it begins with %s", errOddPacket, quoted(header[:]))
	}
	payload := make([]byte, length)
	if _, err := io.ReadFull(w.conn, payload); err != nil {
		return nil, err
	}
	w.number++
	if payload[0] == mysqlError {
		return nil, readMySQLError(payload)
	}
	return payload, nil
}

func (w *mysqlWire) write(payload []byte) error {
	n := len(payload)
	packet := append([]byte{byte(n), byte(n >> 8), byte(n >> 16), w.number}, payload...)
	w.number++
	_, err := w.conn.Write(packet)
	return err
}

// command begins an exchange.
func (w *mysqlWire) command(code byte, text string) error {
	w.number = 0
	return w.write(append([]byte{code}, text...))
}

// serverErrorOfMySQL is an error that a server of MySQL answered with, in its own words.
type serverErrorOfMySQL struct {
	number  uint16
	message string
}

func (e serverErrorOfMySQL) Error() string {
	return fmt.Sprintf("%s (%d)", oneLine(e.message), e.number)
}

func readMySQLError(payload []byte) error {
	if len(payload) < 3 {
		return errOddPacket
	}
	message := payload[3:]
	if len(message) >= 6 && message[0] == '#' { // SQLSTATE, which is absent before the login
		message = message[6:]
	}
	return serverErrorOfMySQL{binary.LittleEndian.Uint16(payload[1:]), string(message)}
}

// cursor takes a payload apart. What is read beyond its end is nothing, and makes it short.
type cursor struct {
	rest  []byte
	short bool
}

func (c *cursor) take(n uint64) []byte {
	if n > uint64(len(c.rest)) {
		c.rest, c.short = nil, true
		return nil
	}
	taken := c.rest[:n]
	c.rest = c.rest[n:]
	return taken
}

func (c *cursor) number(bytes uint64) (n uint64) {
	for i, b := range c.take(bytes) {
		n |= uint64(b) << (8 * i)
	}
	return n
}

// length takes a number that says by its first byte how long it is.
func (c *cursor) length() uint64 {
	switch first := c.number(1); first {
	case 0xfc:
		return c.number(2)
	case 0xfd:
		return c.number(3)
	case 0xfe:
		return c.number(8)
	default:
		return first
	}
}

// text takes a text with its length before it; null is "".
func (c *cursor) text() string {
	if len(c.rest) > 0 && c.rest[0] == mysqlNull {
		c.take(1)
		return ""
	}
	return string(c.take(c.length()))
}

// terminated takes a text that ends with a zero byte, or with the payload.
func (c *cursor) terminated() string {
	end := bytes.IndexByte(c.rest, 0)
	if end < 0 {
		return string(c.take(uint64(len(c.rest))))
	}
	text := string(c.take(uint64(end)))
	c.take(1)
	return text
}
