package e2e

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// chromiumCalls are where the scripts of a page come from, in their order.
var chromiumCalls = []call{
	{"web", "shop.example.com", "h2,http/1.1", "shop", "h2"},
	{"web", "api.example.com", "h2,http/1.1", "api2", "h2"},
	{"web", "www.example.org", "h2,http/1.1", "rest", "http/1.1"},
	{"any", "shop.example.com", "h2,http/1.1", "shop", "h2"},
	{"any", "www.example.net", "h2,http/1.1", "any", "h2"},
}

// A page of one name with scripts from other ones comes together in headless Chromium, each part from the right node.
func TestChromium(t *testing.T) {
	t.Parallel()
	s := startNames(t)
	page := "<!doctype html><title>names</title>\n"
	for _, c := range chromiumCalls {
		page += fmt.Sprintf("<script src=%q></script>\n", s.url(c.listener, c.name)+"script")
	}
	shop := s.nodes["shop"]
	writeFile(t, filepath.Join(shop.dir, "files", "page.html"), page)
	dom, err := s.chromium(s.url("web", "shop.example.com") + "files/page.html")
	if err != nil {
		t.Fatalf("%v\n%s", err, complaint(err))
	}
	s.asked = append(s.asked, chromiumCalls[0].asked()) // the page itself
	answers := regexp.MustCompile(`I am \S+ \S+ \S+ [\d.]+:\d+`).FindAllString(dom, -1)
	if len(answers) != len(chromiumCalls) {
		t.Fatalf("%d scripts have run, want %d:\n%s", len(answers), len(chromiumCalls), dom)
	}
	for i, c := range chromiumCalls {
		s.expectAnswer(t, c, answers[i], "")
	}
	s.expectTold()
}

// Chromium says why it cannot reach a name that no route takes.
func TestChromiumUnknownName(t *testing.T) {
	t.Parallel()
	s := startNames(t)
	dom, err := s.chromium(s.url("strict", "www.example.net"))
	if !strings.Contains(dom+complaint(err), "ERR_SSL_UNRECOGNIZED_NAME_ALERT") { // as a page, or as an error
		t.Errorf("Chromium shows %q and says %v:\n%s", dom, err, complaint(err))
	}
	until(t, "all sessions are refused", func() error {
		for _, line := range s.sessions() {
			if line.Reason != "no_route" || line.ServerName != "www.example.net" {
				t.Fatalf("a session is logged as %+v", line)
			}
		}
		if len(s.sessions()) == 0 {
			return fmt.Errorf("there is none")
		}
		return nil
	})
}

// url is the root of a name at a listener.
func (s *tlsNames) url(listener, name string) string {
	_, port, _ := net.SplitHostPort(s.addresses[listener])
	return "https://" + name + ":" + port + "/"
}

// chromium loads a page, with all that belongs to it, and returns what has become of it. Every name is an address of
// this machine, and certificates are valid when the authority of s has issued them.
func (s *tlsNames) chromium(url string) (dom string, err error) {
	s.t.Helper()
	cmd := command(s.t, program(s.t, "chromium-headless-shell"), "--headless", "--no-sandbox", "--disable-gpu",
		"--disable-breakpad", "--disable-background-networking", "--disable-component-update", "--no-first-run",
		"--no-proxy-server", "--user-data-dir="+tempDir(s.t), "--host-resolver-rules=MAP * 127.0.0.1",
		"--ignore-certificate-errors-spki-list="+strings.Join(s.pins, ","), "--dump-dom", url)
	// Its other processes are in a group with it, and end with it in any case.
	cmd.SysProcAttr.Setpgid = true
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	defer func() {
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // most often, nobody is left
		}
	}()
	out, err := cmd.Output()
	return string(out), err
}
