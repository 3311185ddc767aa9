package e2e

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os/exec"
	"strings"

	"sluice/sysutil/systest"
)

// A dump is an openssl s_server that shows every message.
type dump struct {
	*process
	port int
	seen int // hellos
}

func (a *authority) startDump() *dump {
	a.t.Helper()
	d := &dump{port: systest.ReservePort(a.t)}
	c := a.issue("dump", "shop.example.com")
	d.process = start(a.t, "dump", a.dir, exec.Command(program(a.t, "openssl"), "s_server", "-msg", "-www",
		"-accept", fmt.Sprintf("127.0.0.1:%d", d.port), "-cert", c.file, "-key", c.key))
	d.untilListening(d.port)
	return d
}

// expectNext waits until the next hello is shown, which must have come in these records.
func (d *dump) expectNext(records []byte) {
	d.t.Helper()
	until(d.t, "openssl s_server shows the hello", func() error {
		all := d.hellos()
		if len(all) <= d.seen {
			return fmt.Errorf("it has shown %d", len(all))
		}
		if got := all[d.seen]; !bytes.Equal(got, records) {
			return fmt.Errorf("it shows\n%x, want\n%x", got, records)
		}
		return nil
	})
	d.seen++
}

// hellos puts the records of all hellos together again: s_server shows the head of each, and then the whole message.
func (d *dump) hellos() (all [][]byte) {
	d.t.Helper()
	var heads [][]byte
	for _, part := range strings.Split(readFile(d.t, d.log), "<<< ")[1:] {
		title, text, _ := strings.Cut(part, "\n")
		data := d.bytes(text)
		if strings.Contains(title, "RecordHeader") {
			heads = append(heads, data)
			continue
		}
		if !strings.HasSuffix(title, ", ClientHello") {
			d.t.Fatalf("openssl s_server shows %q, which nobody sent", title)
		}
		var records []byte
		for _, head := range heads {
			if len(head) == 5 { // shorter while it is written
				n := min(len(data), int(binary.BigEndian.Uint16(head[3:])))
				records, data = append(append(records, head...), data[:n]...), data[n:]
			}
		}
		all, heads = append(all, append(records, data...)), nil
	}
	return all
}

// bytes reads the lines of hexadecimal numbers at the start of a text.
func (d *dump) bytes(text string) (data []byte) {
	d.t.Helper()
	for line := range strings.Lines(text) {
		numbers, ok := strings.CutPrefix(line, "    ")
		if !ok {
			break
		}
		row, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(numbers), " ", ""))
		if err != nil {
			break // it is being written
		}
		data = append(data, row...)
	}
	return data
}
