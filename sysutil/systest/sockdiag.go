package systest

import (
	"encoding/binary"
	"errors"
	"syscall"
)

// What package syscall has no names for: see sock_diag(7) and linux/inet_diag.h.
const (
	netlinkSockDiag  = 4
	sockDiagByFamily = 20
	diagRequest      = 56                     // bytes of struct inet_diag_req_v2
	diagAnswer       = 72                     // bytes of struct inet_diag_msg
	everyState       = 1<<12 - 1<<Established // one bit each; TCP_CLOSING, 11, is the last that a connection has
)

var localhost = [4]byte{127, 0, 0, 1}

// diagSockets asks the kernel for the IPv4 sockets of TCP that are in one of these states and have these ports, 0 = any.
// It costs the same however many sockets in TIME_WAIT the machine has, which /proc/net/tcp lists one by one: thousands
// after a test of many sessions.
func diagSockets(states uint32, near, far int) (table []Socket, err error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, netlinkSockDiag)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	if err := syscall.Sendto(fd, diagQuestion(states, near, far), 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return nil, err
	}
	for buf := make([]byte, 1<<16); ; {
		n, _, err := syscall.Recvfrom(fd, buf, 0)
		if err != nil {
			return nil, err
		}
		messages, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			switch {
			case m.Header.Type == syscall.NLMSG_DONE:
				return table, nil
			case m.Header.Type == syscall.NLMSG_ERROR && len(m.Data) >= 4:
				return nil, syscall.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
			case m.Header.Type != sockDiagByFamily || len(m.Data) < diagAnswer:
				return nil, errors.New("an answer that no kernel gives")
			}
			if s, ours := diagSocket(m.Data); ours {
				table = append(table, s)
			}
		}
	}
}

// diagQuestion is a struct nlmsghdr with a struct inet_diag_req_v2.
func diagQuestion(states uint32, near, far int) []byte {
	const length = syscall.NLMSG_HDRLEN + diagRequest
	q := binary.NativeEndian.AppendUint32(nil, length)
	q = binary.NativeEndian.AppendUint16(q, sockDiagByFamily)
	q = binary.NativeEndian.AppendUint16(q, syscall.NLM_F_REQUEST|syscall.NLM_F_DUMP)
	q = append(q, make([]byte, 8)...) // sequence and port: one socket asks one thing
	q = append(q, syscall.AF_INET, syscall.IPPROTO_TCP, 0, 0)
	q = binary.NativeEndian.AppendUint32(q, states)
	q = binary.BigEndian.AppendUint16(q, uint16(near))
	q = binary.BigEndian.AppendUint16(q, uint16(far))
	return append(q, make([]byte, length-len(q))...)
}

// diagSocket reads a struct inet_diag_msg. ours: one of its two addresses is 127.0.0.1.
func diagSocket(m []byte) (s Socket, ours bool) {
	s = Socket{
		Near: int(binary.BigEndian.Uint16(m[4:])), Far: int(binary.BigEndian.Uint16(m[6:])), State: int(m[1]),
		Unread: int(binary.NativeEndian.Uint32(m[56:])), Unsent: int(binary.NativeEndian.Uint32(m[60:])),
		Inode: int(binary.NativeEndian.Uint32(m[68:])),
	}
	if s.State == Listen {
		s.Unsent = 0 // here it is the longest backlog
	}
	return s, [4]byte(m[8:]) == localhost || [4]byte(m[24:]) == localhost
}
