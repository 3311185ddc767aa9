package labels

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/configs"
	"sluice/pool/discovery/docker"
)

// containers reads a line for each container, the oldest first: its name, then labels without their prefix.
func containers(text string) (all []docker.Container) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		c := docker.Container{ID: "id-" + words[0], Name: words[0], Created: time.Unix(int64(1e9+len(all)), 0), Labels: map[string]string{}}
		for _, word := range words[1:] {
			name, value, _ := strings.Cut(word, "=")
			c.Labels[docker.Prefix+name] = strings.ReplaceAll(value, "+", " ")
		}
		all = append(all, c)
	}
	return all
}

// shown writes what a configuration has: listeners with their routes, and pools with what labels can say.
func shown(f *configs.File) string {
	var lines []string
	for _, l := range f.Listeners {
		line := fmt.Sprintf("%s %v %v", l.Name, l.Bind, l.Protocol)
		for _, r := range l.Routes {
			line += fmt.Sprintf(" %v=%s", r.SNI, r.Pool)
		}
		if l.Pool != "" {
			line += " " + l.Pool
		}
		lines = append(lines, line)
	}
	for _, p := range f.Pools {
		line := p.Config.Name
		for _, e := range p.Entries {
			line += " " + e.Source.Key()
		}
		lines = append(lines, fmt.Sprintf("%s %v header=%v check=%v", line, p.Config.Balance, p.SendProxy, p.Health.Probe.Kind))
	}
	return strings.Join(lines, "\n")
}

// TestResolve: what labels make, alone and beside files, and what is said of those that cannot have their say.
func TestResolve(t *testing.T) {
	const app = "app docker unix:/s pool=app least_conn header=off check=tcp"
	for name, c := range map[string]struct {
		files, containers string
		want              string // as shown
		warnings          string
	}{
		"nobody":           {},
		"nobody concerned": {containers: "web pool=app port=80 weight=3\nother"},
		"one":              {containers: "web pool=app listen=:80", want: "docker:80 [:80] tcp app\n" + app},
		"replicas":         {containers: "a pool=app listen=:80\nb pool=app listen=:80\nc pool=app", want: "docker:80 [:80] tcp app\n" + app},
		"several addresses": {
			containers: "a pool=app listen=:80,+127.0.0.1:81,[::1]:82",
			want: "docker:80 [:80] tcp app\ndocker-127.0.0.1:81 [127.0.0.1:81] tcp app\n" +
				"docker-::1:82 [[::1]:82] tcp app\n" + app,
		},
		"names": {
			containers: "star pool=app listen=:443 protocol=tls sni=*.b.example\nrest pool=rest listen=:443 protocol=tls\n" +
				"near pool=shop listen=:443 protocol=tls sni=a.b.example,*.x.b.example\nagain pool=shop listen=:443 protocol=tls sni=c.example",
			want: "docker:443 [:443] tls [a.b.example]=shop [c.example]=shop [*.x.b.example]=shop [*.b.example]=app rest\n" + app +
				"\nrest docker unix:/s pool=rest least_conn header=off check=tcp\nshop docker unix:/s pool=shop least_conn header=off check=tcp",
		},
		"settings": {
			containers: "a pool=app listen=:80 send_proxy=v2\nb pool=app balance=random check=off",
			want:       "docker:80 [:80] tcp app\napp docker unix:/s pool=app random header=v2 check=off",
		},
		"two pools on one address": {
			containers: "a pool=app listen=:80\nb pool=web listen=:80\nc pool=web listen=:81",
			want:       "docker:80 [:80] tcp app\ndocker:81 [:81] tcp web\n" + app + "\nweb docker unix:/s pool=web least_conn header=off check=tcp",
			warnings:   "container b: container a, which is older, has :80 for pool app, not web",
		},
		"two protocols on one address": {
			containers: "a pool=app listen=:80 protocol=postgres\nb pool=app listen=:80",
			want:       "docker:80 [:80] postgres app\n" + app,
			warnings:   "container b: container a, which is older, has :80 with protocol postgres, not tcp",
		},
		"one name in two pools": {
			containers: "a pool=app listen=:80 protocol=tls sni=x.example\nb pool=web listen=:80 protocol=tls sni=y.example,x.example",
			want:       "docker:80 [:80] tls [x.example]=app\n" + app,
			warnings:   "container b: container a, which is older, has the name x.example on :80 for pool app, not web",
		},
		"two settings of one pool": {
			containers: "a pool=app listen=:80\nb pool=app listen=:80 send_proxy=v1\nc pool=app listen=:81 send_proxy=v2",
			want:       "docker:80 [:80] tcp app\ndocker:81 [:81] tcp app\napp docker unix:/s pool=app least_conn header=v1 check=tcp",
			warnings:   "container c: container b, which is older, has sluice.send_proxy=v1 for pool app, not v2",
		},
		"what no configuration may have": {
			containers: "a pool=app listen=:80\nb pool=app listen=:81 protocol=http\nc pool=web listen=:http\nd pool=web listen=:82 sni=x.example\n" +
				"e pool=a/b listen=:83\nf pool=app listen=unix:/etc/x\ng pool=app listen=\nh listen=:84\ni pool=app sni=x.example\nj pool=app lisen=:85\n" +
				"k pool=web listen=:86 balance=best\nl pool=app listen=:9600\nm pool=app listen=${HOME}:87\n" +
				"n pool=web listen=:88 check=htp\no pool=web listen=:89 check=expect\np pool=web listen=:90 send_proxy=v3",
			want: "docker:80 [:80] tcp app\n" + app,
			warnings: `container b: label sluice.protocol: must be one of tcp, postgres, tls, not "http"
container c: port "http" is not a number from 0 to 65535
container d: routes need a protocol whose first bytes are read
container e: pool name "a/b": use letters, digits and - _ . : only
container f: label sluice.listen=unix:/etc/x: labels make no files: write an address of TCP
container g: label sluice.listen is empty: write an address, for example :5432
container h: it has no label sluice.pool: say which pool it is of
container i: labels sluice.protocol and sluice.sni are for a listener: say which one with the label sluice.listen
container j: label sluice.lisen is not known
container k: label sluice.balance: must be one of least_conn, round_robin, random, source_hash, first, not "best"
container l: :9600: taken by admin.listen (its default)
container m: "${HOME}" is neither an IP address nor a host name
container n: label sluice.check: must be one of tcp, off, 
container o: label sluice.check: a check of type expect has no steps: 
container p: label sluice.send_proxy: must be one of off, v1, v2, not "v3"`,
		},
		"the same address in other words": {
			containers: "a pool=app listen=0.0.0.0:80\nb pool=app listen=:80",
			want:       "docker-0.0.0.0:80 [0.0.0.0:80] tcp app\n" + app,
			warnings:   "container b: :80: taken by listener",
		},
		"files come first": {
			files:      "listeners: {web: {bind: \":80\", pool: app}}\npools: {app: {backends: [10.0.0.1:80]}}",
			containers: "a pool=app listen=:80\nb pool=app listen=:81 send_proxy=v2\nc pool=new listen=:82",
			want: "web [:80] tcp app\ndocker:81 [:81] tcp app\ndocker:82 [:82] tcp new\n" +
				"app least_conn header=off check=tcp\nnew docker unix:/s pool=new least_conn header=off check=tcp",
			warnings: "container a: :80: taken by listener \"web\"\n" +
				"container b: label sluice.send_proxy=v2: pool app is in the files of the configuration, and they say what it is",
		},
		"files refer to what labels make": {
			files:      "listeners: {web: {bind: \":80\", pool: app}}",
			containers: "a pool=app listen=:81",
			want:       "web [:80] tcp app\ndocker:81 [:81] tcp app\n" + app,
		},
		"files say what is the default": {
			files:      "defaults: {pools: {send_proxy: v2}}",
			containers: "a pool=app listen=:81\nb pool=web listen=:82 send_proxy=v1",
			want: "docker:81 [:81] tcp app\ndocker:82 [:82] tcp web\napp docker unix:/s pool=app least_conn header=v2 check=tcp\n" +
				"web docker unix:/s pool=web least_conn header=v1 check=tcp",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var texts []configs.SourceText
			if c.files != "" {
				texts = append(texts, configs.SourceText{Name: "sluice.yaml", Text: c.files})
			}
			r, err := Resolve(texts, "unix:/s", containers(c.containers))
			if err != nil {
				t.Fatal(err)
			}
			if got := shown(r.File); got != c.want {
				t.Errorf("got\n%s\nwant\n%s\nof\n%s", got, c.want, r.YAML)
			}
			expectWarnings(t, r.Warnings, c.warnings)
			if len(r.File.Warnings) > 0 {
				t.Errorf("the configuration has the warnings %v", r.File.Warnings)
			}
		})
	}
}

// expectWarnings holds warnings to lines with which they must begin.
func expectWarnings(t *testing.T, got []string, want string) {
	t.Helper()
	lines := strings.Split(want, "\n")
	if want == "" {
		lines = nil
	}
	ok := len(got) == len(lines)
	for i := range min(len(got), len(lines)) {
		ok = ok && strings.HasPrefix(got[i], lines[i])
	}
	if !ok {
		t.Errorf("got the warnings\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

// TestIdle: a container is told that nobody gives it sessions, unless a listener does, or it has been told worse.
func TestIdle(t *testing.T) {
	for _, c := range []struct{ files, containers, want string }{
		{"", "a pool=app listen=:80\nb pool=app\nc\nd weight=1", ""},
		{"", "a pool=app\nb pool=web listen=:80\nc pool=x sni=a.example\nd pool=x lisen=:81", "container a: no listener is for pool app: "},
		{"listeners: {web: {bind: \":80\", pool: app}}\npools: {app: {discover: {docker: {socket: \"unix:/s\", pool: web}}}}",
			"a pool=web\nb pool=app", "container b: no listener is for pool app: "},
		{"listeners: {web: {bind: \":80\", protocol: tls, routes: [{sni: x.example, pool: app}]}}\n" +
			"pools: {app: {discover: {docker: {socket: \"unix:/s\"}}}, other: {discover: {docker: {socket: \"unix:/s\"}}}}",
			"a pool=app\nb pool=other", "container b: no listener is for pool other: "},
		{"listeners: {web: {bind: \":80\", pool: app}}\npools: {app: {discover: {docker: {socket: \"unix:/t\"}}}}",
			"a pool=app", "container a: no listener is for pool app: "},
	} {
		var texts []configs.SourceText
		if c.files != "" {
			texts = append(texts, configs.SourceText{Name: "sluice.yaml", Text: c.files})
		}
		all := containers(c.containers)
		r, err := Resolve(texts, "unix:/s", all)
		if err != nil {
			t.Fatal(err)
		}
		expectWarnings(t, r.Idle(all), c.want)
	}
}

// TestWrongFiles: what is wrong with the files is an error, whatever containers say.
func TestWrongFiles(t *testing.T) {
	_, err := Resolve([]configs.SourceText{{Name: "a.yaml", Text: "listeners: {web: {bind: \":80\", pool: none}}"}}, "unix:/s",
		containers("a pool=app listen=:81\nb pool=web listen=:80"))
	if err == nil || !strings.Contains(err.Error(), `a.yaml:1:`) || !strings.Contains(err.Error(), "none") || strings.Contains(err.Error(), textName) {
		t.Errorf("the error is %v", err)
	}
}

func digestOf(text string) string { return digest(containers(text), nil) }

// TestDigest: only what containers say makes a difference, not which of them say it.
func TestDigest(t *testing.T) {
	a := digestOf("a pool=app listen=:80\nb pool=web listen=:81")
	if b := digestOf("c pool=web listen=:81\nd pool=app listen=:80\ne pool=app listen=:80\nf pool=app weight=3\ng"); a != b {
		t.Errorf("%s\nis not\n%s", a, b)
	}
	for _, other := range []string{
		"a pool=app listen=:80", "a pool=app listen=:80\nb pool=web listen=:81\nc pool=web listen=:80", "a pool=app listen=:80 send_proxy=v1\nb pool=web listen=:81",
	} {
		if digestOf(other) == a {
			t.Errorf("%q makes no difference", other)
		}
	}
}
