// Package handoff is the wire between a process of sluice and its successor: messages of JSON with descriptors, over one
// Unix stream connection. It knows no session and no socket that it carries; what the messages say, and their order, is in
// HANDOVER.md.
//
// # Frames
//
// A message is one or more frames, each a header of 16 bytes in network byte order and a part of the body:
//
//	4 bytes  "SLHO"
//	2        kind of the message
//	2        descriptors that came with the header, at most 253
//	4        bytes of the body that follow
//	4        frames of this message that follow this one
//
// A stream has no boundaries: the kernel cuts and joins what was written. It does keep to one rule (unix(7), SCM_RIGHTS):
// descriptors arrive with the bytes that they were sent with, in one piece. So a frame's descriptors are sent with its
// header, a header is read to its last byte and never further, and whatever comes with other bytes is a lie.
//
// # Descriptors
//
// None is lost and none is leaked: those of a message that does not become whole are closed, those that were sent stay the
// sender's. They are CLOEXEC when they arrive. NONBLOCK belongs to the description that both processes share, so it stays
// as it is. The sender keeps its own open until the other process says that it has them.
package handoff
