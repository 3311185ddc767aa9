package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A network is a second network on this machine, joined to the first by a cable. Connections into it can be made to
// vanish without a word, as when a machine loses power.
type network struct {
	t    *testing.T
	name string
	near string // address of this side
	far  string // address in the network
	link string
}

// networks is how many networks the tests have made.
var networks atomic.Int32

// newNetwork makes a network that goes with the test. It needs root.
func newNetwork(t *testing.T) *network {
	t.Helper()
	number := int(networks.Add(1))
	id := 4*os.Getpid() + number // several programs of tests may run at a time, and several tests of each
	prefix := fmt.Sprintf("10.%d.%d.", 200+id/250%50, id%250)
	n := &network{
		t: t, name: fmt.Sprintf("sluice-test-%d-%d", os.Getpid(), number), link: fmt.Sprintf("sl%d-%d", os.Getpid(), number),
		near: prefix + "1", far: prefix + "2",
	}
	n.ip("netns", "add", n.name)
	t.Cleanup(func() { n.ip("netns", "delete", n.name) }) // and with it the cable
	n.ip("link", "add", n.link, "type", "veth", "peer", "name", "cable", "netns", n.name)
	n.ip("addr", "add", n.near+"/24", "dev", n.link)
	n.ip("link", "set", n.link, "up")
	n.inside("addr", "add", n.far+"/24", "dev", "cable")
	n.inside("link", "set", "cable", "up")
	return n
}

func (n *network) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %v: %v: %s (this test needs root)", args, err, out)
	}
}

func (n *network) inside(args ...string) {
	n.t.Helper()
	n.ip(append([]string{"-n", n.name}, args...)...)
}

// vanish takes the network's address away: what is sent there is dropped without an answer, as its connections are still
// there and nobody closes them.
func (n *network) vanish() { n.inside("addr", "delete", n.far+"/24", "dev", "cable") }

// appear gives the network its address back.
func (n *network) appear() { n.inside("addr", "add", n.far+"/24", "dev", "cable") }

// keepAsking makes this side ask for a neighbour for as long as it takes, and keep what is to be sent there: connects stay
// under way, and go on within a second when the neighbour is there. See arp(7).
func (n *network) keepAsking() {
	n.ip("ntable", "change", "name", "arp_cache", "dev", n.link, "mcast_probes", "100000")
}

// run calls f on a thread that is in the network. Sockets that it opens stay there.
func (n *network) run(f func() error) {
	n.t.Helper()
	failed := make(chan error, 1)
	go n.enter(f, failed)
	if err := <-failed; err != nil {
		n.t.Fatal(err)
	}
}

// enter is the goroutine of run. It must not be on the first thread: the network of that one is what /proc/net shows. Nor
// may it end its thread: programs that were started from it would be killed, see PR_SET_PDEATHSIG in prctl(2). So it
// goes back to where it was.
func (n *network) enter(f func() error, failed chan<- error) {
	runtime.LockOSThread()
	if syscall.Gettid() == os.Getpid() {
		defer runtime.UnlockOSThread()
		inner := make(chan error)
		go n.enter(f, inner)
		failed <- <-inner
		return
	}
	defer runtime.UnlockOSThread()
	failed <- n.visit(f)
}

// visit takes this thread into the network for as long as f takes.
func (n *network) visit(f func() error) error {
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	there, err := os.Open("/run/netns/" + n.name)
	if err != nil {
		return err
	}
	defer there.Close()
	if err := setns(there); err != nil {
		return err
	}
	err = f()
	if back := setns(home); back != nil {
		panic(back) // whoever gets this thread next would be in the wrong network
	}
	return err
}

func setns(network *os.File) error {
	if _, _, errno := syscall.RawSyscall(sysSetns, network.Fd(), syscall.CLONE_NEWNET, 0); errno != 0 {
		return os.NewSyscallError("setns", errno)
	}
	return nil
}

// listen returns a listener in the network.
func (n *network) listen() net.Listener {
	n.t.Helper()
	var l net.Listener
	n.run(func() (err error) {
		l, err = net.Listen("tcp", n.far+":0")
		return err
	})
	n.t.Cleanup(func() { l.Close() })
	return l
}

// dial returns a connection from the network.
func (n *network) dial(address string) net.Conn {
	n.t.Helper()
	var c net.Conn
	n.run(func() (err error) {
		c, err = net.Dial("tcp", address)
		return err
	})
	n.t.Cleanup(func() { c.Close() })
	return c
}

const blackholeConfig = `
listeners:
  far: {bind: "127.0.0.1:0", pool: far, timeouts: {dead_peer: 5s}}
  near: {bind: "0.0.0.0:0", pool: near, timeouts: {dead_peer: 5s}}
pools:
  far: {check: {type: off}, timeouts: {dead_peer: 5s}, backends: [{name: far, address: %q}]}
  near: {check: {type: off}, timeouts: {dead_peer: 5s}, backends: [{name: near, address: %q}]}
`

// A backend or a client that vanishes without a word ends its sessions in little more than dead_peer, whether bytes are
// on their way or not. Meanwhile a session that is idle but alive goes on, and so does one whose client does not read:
// its window is closed for twice that time.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	far, near := n.listen(), listenNear(t)
	r := startSluice(t, fmt.Sprintf(blackholeConfig, far.Addr(), near.Addr()))
	farAddress := r.address("far")
	_, nearPort, _ := net.SplitHostPort(r.address("near"))
	toNear := func(host string) string { return net.JoinHostPort(host, nearPort) }

	idle, idleBackend := joined(t, dialNear(t, toNear("127.0.0.1")), near)
	lazy, lazyBackend := joined(t, dialNear(t, toNear("127.0.0.1")), near)
	stalled := stall(t, lazyBackend)
	quietBackend, _ := joined(t, dialNear(t, farAddress), far)
	busyBackend, _ := joined(t, dialNear(t, farAddress), far)
	quietClient, _ := joined(t, n.dial(toNear(n.near)), near)
	_, busyClientBackend := joined(t, n.dial(toNear(n.near)), near)

	n.vanish()
	began := time.Now()
	write(t, busyBackend, "a question that nobody hears")
	write(t, busyClientBackend, "an answer that nobody hears")
	r.untilEnds("2 clients and 2 backends that vanished", func(got map[string]uint64) bool {
		return got["server_reset"] == 2 && got["client_reset"] == 2
	})
	t.Logf("dead_peer 5s: all four sessions had ended after %v", time.Since(began).Round(time.Millisecond))
	for _, c := range []net.Conn{quietBackend, busyBackend} {
		c.SetReadDeadline(time.Now().Add(patient))
		if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("the client of a backend that vanished read %v, want a reset", err)
		}
	}
	quietClient.Close()

	until(t, "a window is closed for more than twice dead_peer", func() error {
		if since := time.Since(stalled); since < 11*time.Second {
			return fmt.Errorf("%v so far", since)
		}
		return nil
	})
	lazyBackend.Close() // all that was written is still to come, and then the end
	if n, err := io.Copy(io.Discard, lazy); err != nil || n == 0 {
		t.Errorf("a client that had not read for a while got %d bytes and %v", n, err)
	}
	lazy.Close()
	write(t, idle, "still here?")
	idle.Close()
	if question, err := io.ReadAll(idleBackend); err != nil || string(question) != "still here?" {
		t.Errorf("a session that had been idle passed on %q, %v", question, err)
	}
	idleBackend.Close()
	r.untilEnds("2 more that are clean", func(got map[string]uint64) bool {
		return got["client_closed"]+got["server_closed"] == 2 && got["server_reset"] == 2 && got["client_reset"] == 2
	})
}

func listenNear(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func dialNear(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// joined returns both ends of a session through sluice, after a byte each way.
func joined(t *testing.T, c net.Conn, l net.Listener) (clientEnd, backendEnd net.Conn) {
	t.Helper()
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	for _, way := range [][2]net.Conn{{c, b}, {b, c}} {
		write(t, way[0], "?")
		if _, err := io.ReadFull(way[1], make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	return c, b
}

func write(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// stall writes until nothing goes in any more, and returns when that was.
func stall(t *testing.T, c net.Conn) time.Time {
	t.Helper()
	block := make([]byte, 64<<10)
	for {
		c.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := c.Write(block); err != nil {
			if !os.IsTimeout(err) {
				t.Fatal(err)
			}
			return time.Now()
		}
	}
}
