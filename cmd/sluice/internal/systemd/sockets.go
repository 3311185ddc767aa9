package systemd

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"sluice/sysutil"
)

// A Socket is a listening socket that the service manager has opened for this process. It stays open over there, with
// the connections that wait in its backlog.
type Socket struct {
	Name string // FileDescriptorName= of its unit
	FD   int    // CLOEXEC and NONBLOCK
	// TCP is where it listens. Without an IP: every address of both families.
	TCP  netip.AddrPort
	Unix string // its path, or "@" and its name in the abstract namespace; "" = it is a TCP socket
}

// Address is where the socket listens, as a configuration has it.
func (s *Socket) Address() string {
	switch {
	case s.Unix != "":
		return "unix:" + s.Unix
	case !s.TCP.Addr().IsValid():
		return fmt.Sprintf(":%d", s.TCP.Port())
	}
	return s.TCP.String()
}

// firstFD is the first descriptor that is passed: SD_LISTEN_FDS_START.
const firstFD = 3

// maxFDs is beyond what any service manager passes.
const maxFDs = 1 << 16

// Sockets returns the sockets that were passed to this process. It takes them out of the environment, so that a process
// started by this one does not take them for its own. Call it once.
func Sockets() ([]Socket, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		if err := os.Unsetenv(name); err != nil {
			return nil, err
		}
	}
	if pid == "" || count == "" {
		return nil, nil
	}
	if owner, err := strconv.Atoi(pid); err != nil {
		return nil, fmt.Errorf("LISTEN_PID=%q: it must be a number", pid)
	} else if owner != os.Getpid() { // they are meant for the process that has started this one
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > maxFDs {
		return nil, fmt.Errorf("LISTEN_FDS=%q: it must be a number of descriptors", count)
	}
	sockets, err := named(n, names)
	if err != nil {
		return nil, err
	}
	var wrong []error
	for i := range sockets {
		s := &sockets[i]
		if s.TCP, s.Unix, err = sysutil.AdoptListener(s.FD); err != nil {
			wrong = append(wrong, fmt.Errorf("the service manager has passed descriptor %d under the name %q: %w; only "+
				"sockets of ListenStream= without Accept=yes can be served", s.FD, s.Name, err))
		}
	}
	return sockets, errors.Join(wrong...)
}

// named returns n sockets with their descriptors and names.
func named(n int, names string) ([]Socket, error) {
	sockets := make([]Socket, n)
	list := strings.Split(names, ":")
	if names != "" && len(list) != n {
		return nil, fmt.Errorf("LISTEN_FDNAMES=%q: there are %d descriptors (LISTEN_FDS), and %d names", names, n, len(list))
	}
	for i := range sockets {
		sockets[i] = Socket{Name: "unknown", FD: firstFD + i} // as sd_listen_fds_with_names(3) has it
		if names != "" {
			sockets[i].Name = list[i]
		}
	}
	return sockets, nil
}
