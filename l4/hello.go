package l4

import (
	"io"

	"sluice/l4/pgwire"
	"sluice/l4/route"
	"sluice/l4/tlshello"
	"sluice/sysutil"
)

// tryHello looks for a ClientHello in the input. It is kept, as any first packet is,
// until the backend has answered it, and so is what came with it: the client's word
// to whatever server it reaches.
func (l *loop) tryHello(s *session) (next state, size int, err error) {
	if s.opening == nil {
		return s.state, tlshello.RecordHead, io.ErrUnexpectedEOF // a client that is silent costs nothing
	}
	opening := s.opening
	hello, size, err := opening.reader.Read(opening.input)
	if err != nil {
		return s.state, size, err
	}
	opening.key = route.Key{ServerName: hello.ServerName, Protocols: hello.Protocols}
	if hello.ServerName != "" {
		s.name().server = hello.ServerName
	}
	opening.hello, opening.input = opening.input, nil
	opening.packet, opening.kind = opening.hello, packetHello
	opening.alert = tlshello.AlertUnrecognizedName
	return l.route(s), 0, nil
}

// securedAnswer takes a backend's answer to the SSLRequest that sluice sent for a
// client whose ClientHello it has: nothing but "yes" will do. What came with it
// would be in clear, and is refused as it is from a client.
func (l *loop) securedAnswer(s *session, data []byte) state {
	if len(data) != 1 || data[0] != pgwire.AnswerYes {
		return l.unanswered(s, ServerReset, errnoProtocol)
	}
	s.opening.packet, s.opening.kind = s.opening.hello, packetHello
	return stateSending
}

// lastWord is what a client is told in its own protocol when its session comes to
// nothing; nil = nothing.
func (s *session) lastWord(reason Reason) []byte {
	opening := s.opening
	switch {
	case opening == nil || opening.kind == pgwire.CancelRequest || reason == ClientReset:
		return nil // it has been answered, or has asked nothing
	case opening.alert != 0:
		return opening.tlsWord(reason)
	case opening.packet != nil:
		return s.postgresWord(reason)
	}
	return nil
}

// tlsWord is the alert for a reason. A client that has not begun to speak TLS would
// not understand it.
func (o *opening) tlsWord(reason Reason) []byte {
	begun := o.hello != nil || len(o.input) > 0 && o.input[0] == tlshello.RecordHandshake
	switch alert := reasonTable[reason].alert; {
	case alert == alertOfHello && begun:
		return o.alert.Record()
	case alert == alertInternal && o.hello != nil:
		return tlshello.AlertInternalError.Record()
	}
	return nil
}

// sayLast sends a client its last word, if there is one. Input that nobody has read would
// turn the end that follows into a reset, which can overtake it (RFC 2525, 2.17).
func (l *loop) sayLast(s *session, reason Reason) bool {
	word, fd := s.lastWord(reason), int(s.ends[client].fd)
	if word == nil {
		return false
	}
	if _, errno := sysutil.Send(fd, word); errno != 0 {
		return false
	}
	_, _ = sysutil.Recv(fd, l.scratch)
	return true
}
