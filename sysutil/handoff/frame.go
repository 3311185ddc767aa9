package handoff

import (
	"encoding/binary"
	"errors"
	"fmt"

	"sluice/sysutil"
)

// What a message may have at most.
const (
	MaxBody  = 64 << 20
	MaxFiles = 1 << 16
)

const (
	magic      = "SLHO"
	headerSize = 16
	maxFrames  = (MaxFiles + sysutil.MaxPassed - 1) / sysutil.MaxPassed
)

// ErrFrame means that what came is not the format, or contradicts itself. Nothing can be read after it.
var ErrFrame = errors.New("malformed message")

// frame is the header of one. A message has at least one; descriptors beyond what the kernel passes at once make more.
type frame struct {
	kind  Kind
	files int
	size  int // bytes that follow
	more  int // frames that follow
}

func (f frame) put(header []byte) {
	copy(header, magic)
	binary.BigEndian.PutUint16(header[4:], uint16(f.kind))
	binary.BigEndian.PutUint16(header[6:], uint16(f.files))
	binary.BigEndian.PutUint32(header[8:], uint32(f.size))
	binary.BigEndian.PutUint32(header[12:], uint32(f.more))
}

// parseFrame reads a header. Everything in it is in its bounds without an error.
func parseFrame(header *[headerSize]byte) (frame, error) {
	size, more := binary.BigEndian.Uint32(header[8:]), binary.BigEndian.Uint32(header[12:])
	f := frame{
		kind:  Kind(binary.BigEndian.Uint16(header[4:])),
		files: int(binary.BigEndian.Uint16(header[6:])),
		size:  int(min(size, MaxBody+1)), // an int may have 32 bits
		more:  int(min(more, maxFrames)),
	}
	switch {
	case string(header[:4]) != magic:
		return f, fmt.Errorf("%w: it starts with %q", ErrFrame, header[:4])
	case !f.kind.known():
		return f, fmt.Errorf("%w: version %d.%d has no %v", ErrFrame, Major, Minor, f.kind)
	case f.files > sysutil.MaxPassed:
		return f, fmt.Errorf("%w: %v has %d descriptors in a frame", ErrFrame, f.kind, f.files)
	case f.size > MaxBody:
		return f, fmt.Errorf("%w: %v has %d bytes", ErrFrame, f.kind, size)
	case f.more >= maxFrames:
		return f, fmt.Errorf("%w: %v has %d frames more", ErrFrame, f.kind, more)
	}
	return f, nil
}
