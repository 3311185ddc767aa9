package handoff

import (
	"bytes"
	"encoding/json"
	"fmt"

	"sluice/sysutil"
)

// Send sends a message: body as JSON ({} for nil), and descriptors, which stay the caller's. After an error that comes
// before a byte was sent, other messages can be: the reason why the hand-over ends, say. Any other is the end of sending.
func (c *Conn) Send(kind Kind, body any, files ...int) error {
	c.point("send", kind)
	if c.cannotSend != nil {
		return c.cannotSend
	}
	buffer, err := encode(kind, body, len(files))
	began := false
	if err == nil {
		began, err = c.send(kind, buffer, files)
	}
	if err != nil {
		err = fmt.Errorf("send %v: %w", kind, err)
		if began {
			c.cannotSend = err
		}
		return err
	}
	c.point("sent", kind)
	return nil
}

// encode returns the body with room for a header before it.
func encode(kind Kind, body any, files int) ([]byte, error) {
	if !kind.known() {
		return nil, fmt.Errorf("version %d.%d has no such message", Major, Minor)
	}
	if files > MaxFiles {
		return nil, fmt.Errorf("%d descriptors are more than %d", files, MaxFiles)
	}
	if body == nil {
		body = struct{}{}
	}
	var buffer bytes.Buffer
	buffer.Write(make([]byte, headerSize))
	if err := json.NewEncoder(&buffer).Encode(body); err != nil {
		return nil, err
	}
	if size := buffer.Len() - headerSize; size > MaxBody {
		return nil, fmt.Errorf("%d bytes are more than %d", size, MaxBody)
	}
	return buffer.Bytes(), nil
}

// send writes the frames. The first has the body, so that a message of few descriptors is one call. began says that a part
// of the message is on its way.
func (c *Conn) send(kind Kind, buffer []byte, files []int) (began bool, err error) {
	f := frame{kind: kind, size: len(buffer) - headerSize, more: max(0, len(files)-1) / sysutil.MaxPassed}
	for {
		f.files = min(len(files), sysutil.MaxPassed)
		f.put(buffer)
		n, err := c.write(kind, buffer, files[:f.files])
		began = began || n > 0
		if err != nil || f.more == 0 {
			return began, err
		}
		files = files[f.files:]
		f.more--
		f.size, buffer = 0, buffer[:headerSize]
	}
}

// write writes a frame; if a test wants to stop in the middle of it, in two halves.
func (c *Conn) write(kind Kind, b []byte, files []int) (n int, err error) {
	if Hook == nil {
		return sysutil.SendFiles(c.c, b, files)
	}
	half := len(b) / 2
	if n, err = sysutil.SendFiles(c.c, b[:half], files); err != nil {
		return n, err
	}
	c.point("sending", kind)
	more, err := sysutil.SendFiles(c.c, b[half:], nil)
	return n + more, err
}
