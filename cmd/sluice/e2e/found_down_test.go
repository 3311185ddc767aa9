package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/pool/discovery/dns/dnstest"
)

// downConfig is a pool for each kind of source. Each source is asked again after its own time.
const downConfig = `
pools:
  dns: {queue: {timeout: 10m}, discover: {dns: {name: app.internal, port: %d, resolver: "%v", max_ttl: 1s}}}
  file: {queue: {timeout: 10m}, discover: {file: %q}}
  docker: {queue: {timeout: 10m}, discover: {docker: {socket: "unix:%s"}}}
`

// TestSourcesDown starts sluice while no source of backends answers. It says which, clients wait, and are served as soon as
// their source has answered.
func TestSourcesDown(t *testing.T) {
	t.Parallel()
	p := newPlaces(t)
	p.open(1, 2, 3)
	dir := tempDir(t)
	list, socket := filepath.Join(dir, "list.yaml"), filepath.Join(dir, "docker.sock")
	pools, relayed := []string{"dns", "file", "docker"}, dnstest.Address(t)
	f := startFound(t, p, listenersOf(pools...)+fmt.Sprintf(downConfig, p.port, relayed, list, socket), pools...)
	until(t, "/readyz names all sources", func() error {
		code, text := f.get("/readyz")
		for _, want := range []string{"dns app.internal", "connection refused", "file " + list, "no such file", "docker unix:" + socket} {
			if code != http.StatusServiceUnavailable || !strings.Contains(text, want) {
				return fmt.Errorf("it answers %d %q, which has no %q", code, text, want)
			}
		}
		return nil
	})
	var table []string
	for i, pool := range pools {
		wait := f.wait(pool, 3)
		answers := make(chan time.Time, 1)
		switch pool {
		case "dns":
			knot := dnstest.StartKnot(t, dnstest.Address(t), zoneOf(0, 1)...)
			knot.Serve(zoneOf(0, 1)...) // returns when it listens
			relay(t, relayed, knot.At, answers)
		case "file":
			writeFile(t, list+".next", "- "+p.address(2)+"\n")
			answers <- time.Now()
			if err := os.Rename(list+".next", list); err != nil {
				t.Fatal(err)
			}
		case "docker":
			serveDocker(t, socket, fmt.Sprintf(dockerList, placeIP(3), p.port), answers)
		}
		served := wait(i + 1)
		table = append(table, fmt.Sprintf("%s: %v", pool, served.Sub(<-answers).Round(time.Millisecond)))
	}
	showTable(t, "Sources that were down", "from the first byte of the answer to the last waiting client's reply: "+strings.Join(table, ", "))
	f.untilReady()
	f.expectClean(9)
}

// untilReady waits until /readyz says that clients can be served.
func (f *foundRig) untilReady() {
	f.t.Helper()
	until(f.t, "sluice is ready", func() error {
		if code, text := f.get("/readyz"); code != http.StatusOK {
			return fmt.Errorf("/readyz answers %d %q", code, text)
		}
		return nil
	})
}

// wait lets n clients come to a pool and returns when they wait. The function that it returns waits until they are served, at
// the place of that number, and returns when the last one was.
func (f *foundRig) wait(pool string, n int) (served func(place int) time.Time) {
	f.t.Helper()
	address := f.address(pool)
	var clients sync.WaitGroup
	var mu sync.Mutex
	var last time.Time
	var at []int
	for range n {
		clients.Go(func() {
			c, err := visitPlace(address, pool)
			if err != nil {
				f.t.Errorf("a client of %s that waits: %v", pool, err)
				return
			}
			defer c.Close()
			mu.Lock()
			defer mu.Unlock()
			last, at = time.Now(), append(at, c.place)
		})
	}
	until(f.t, "clients wait", func() error {
		for _, p := range f.answer().Pools {
			if p.Name == pool && p.Waiting != n {
				return fmt.Errorf("%d of %s do, want %d", p.Waiting, pool, n)
			}
		}
		return nil
	})
	return func(place int) time.Time {
		f.t.Helper()
		clients.Wait()
		for _, is := range at {
			if is != place {
				f.t.Errorf("a client of %s was at place %d, want %d", pool, is, place)
			}
		}
		return last
	}
}

// relay passes packets on from an address to a server and back. It tells when it begins to send the first answer back.
func relay(t *testing.T, at, server netip.AddrPort, first chan<- time.Time) {
	t.Helper()
	in, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		in.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			question := make([]byte, 1<<16)
			n, from, err := in.ReadFromUDPAddrPort(question)
			if err != nil {
				return // closed
			}
			all.Go(func() {
				answer, err := ask(server, question[:n])
				if err != nil {
					t.Errorf("relay to %v: %v", server, err)
					return
				}
				select {
				case first <- time.Now():
				default:
				}
				_, _ = in.WriteToUDPAddrPort(answer, from) // who asks may be gone
			})
		}
	})
}

// ask sends one packet and returns the answer.
func ask(server netip.AddrPort, question []byte) ([]byte, error) {
	c, err := net.DialTimeout("udp", server.String(), patient)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patient))
	if _, err := c.Write(question); err != nil {
		return nil, err
	}
	answer := make([]byte, 1<<16)
	n, err := c.Read(answer)
	return answer[:n], err
}

// dockerList is an engine's list of one container.
const dockerList = `[{"Id": "c1", "Names": ["/app"], "Labels": {"sluice.pool": "docker"}, "State": "running", "Status": "Up",
	"NetworkSettings": {"Networks": {"bridge": {"IPAddress": "%v"}}}, "Ports": [{"PrivatePort": %d, "Type": "tcp"}]}]`

// serveDocker listens as an engine does, with a list of containers and nothing that happens. It tells when it sends the list for
// the first time. Engines themselves are tested elsewhere.
func serveDocker(t *testing.T, socket, list string, first chan<- time.Time) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Api-Version", "1.41") })
	mux.HandleFunc("/v1.41/containers/json", func(w http.ResponseWriter, _ *http.Request) {
		select {
		case first <- time.Now():
		default:
		}
		fmt.Fprint(w, list)
	})
	mux.HandleFunc("/v1.41/events", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(l) }() // until it is closed
	t.Cleanup(func() { _ = server.Close() })
}
