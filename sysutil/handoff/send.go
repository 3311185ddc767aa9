package handoff

import (
	"bytes"
	"encoding/json"
	"fmt"

	"sluice/sysutil"
)

// Send sends a message: body as JSON ({} for nil), and descriptors, which stay the caller's. A message that is out of
// bounds is refused before a byte of it is sent; any other error is the end of sending.
func (c *Conn) Send(kind Kind, body any, files ...int) error {
	point("send", kind)
	if c.cannotSend != nil {
		return c.cannotSend
	}
	buffer, err := encode(kind, body, len(files))
	if err != nil {
		return fmt.Errorf("send %v: %w", kind, err)
	}
	if err := c.send(kind, buffer, files); err != nil {
		c.cannotSend = fmt.Errorf("send %v: %w", kind, err)
		return c.cannotSend
	}
	point("sent", kind)
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

// send writes the frames. The first has the body, so that a message of few descriptors is one call.
func (c *Conn) send(kind Kind, buffer []byte, files []int) error {
	f := frame{kind: kind, size: len(buffer) - headerSize, more: max(0, len(files)-1) / sysutil.MaxPassed}
	for {
		f.files = min(len(files), sysutil.MaxPassed)
		f.put(buffer)
		if err := c.write(kind, buffer, files[:f.files]); err != nil {
			return err
		}
		if f.more == 0 {
			return nil
		}
		files = files[f.files:]
		f.more--
		f.size, buffer = 0, buffer[:headerSize]
	}
}

// write writes a frame; if a test wants to stop in the middle of it, in two halves.
func (c *Conn) write(kind Kind, b []byte, files []int) error {
	if Hook == nil {
		return sysutil.SendFiles(c.c, b, files)
	}
	half := len(b) / 2
	if err := sysutil.SendFiles(c.c, b[:half], files); err != nil {
		return err
	}
	point("sending", kind)
	return sysutil.SendFiles(c.c, b[half:], nil)
}
