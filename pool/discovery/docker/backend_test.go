package docker

import (
	"strings"
	"testing"

	"sluice/pool/discovery"
)

// TestFound: what becomes of one container, and what is said of one that cannot be a backend.
func TestFound(t *testing.T) {
	const labels = `"sluice.pool": "app"`
	label := func(name, value string) []string {
		return []string{labels, labels + `, "` + name + `": "` + value + `"`}
	}
	twoNetworks := []string{`"none": null`, `"back": {"IPAddress": "10.2.0.2"}`}
	for name, c := range map[string]struct {
		with []string // of the sample
		ask  Config
		want string
	}{
		"as it is":                {want: "web=10.1.0.2:8080"},
		"another pool":            {with: []string{`"app"`, `"web"`}, want: ""},
		"no label":                {with: []string{`"sluice.pool": "app", `, ""}, want: ""},
		"IPv6 alone":              {with: []string{`"10.1.0.2"`, `""`, `"GlobalIPv6Address": ""`, `"GlobalIPv6Address": "fd00::2"`}, want: "web=[fd00::2]:8080"},
		"no name":                 {with: []string{`"/web"`, `"/other/one"`}, want: "web=10.1.0.2:8080"},
		"port by label":           {with: label("sluice.port", "81"), ask: Config{Port: 82}, want: "web=10.1.0.2:81"},
		"port by configuration":   {ask: Config{Port: 82}, want: "web=10.1.0.2:82"},
		"port that is none":       {with: label("sluice.port", "http"), want: "!container web: label sluice.port=http: want a number from 1 to 65535"},
		"port 0":                  {with: label("sluice.port", "0"), want: "!container web: label sluice.port=0: want a number from 1 to 65535"},
		"no port":                 {with: []string{`"PrivatePort": 8080`, `"PrivatePort": 0`}, want: "!container web: it exposes no TCP port: say which one with the label sluice.port"},
		"two ports":               {with: []string{`{"PrivatePort": 53, "Type": "udp"}`, `{"PrivatePort": 53, "Type": "tcp"}`}, want: "!container web: it exposes the ports 53 and 8080: say which one with the label sluice.port"},
		"weight":                  {with: label("sluice.weight", "257"), want: "!container web: label sluice.weight=257: want a number from 0 to 256"},
		"max_conns":               {with: label("sluice.max_conns", "-1"), want: "!container web: label sluice.max_conns=-1: want a number from 0 to 2147483647"},
		"backup":                  {with: label("sluice.backup", "yes"), want: "!container web: label sluice.backup=yes: want true or false"},
		"two networks":            {with: twoNetworks, want: "!container web: it is in the networks back and bridge: say which one with the label sluice.network, or with network in the pool's discover"},
		"network by config":       {with: twoNetworks, ask: Config{Network: "back"}, want: "web=10.2.0.2:8080"},
		"network by label":        {with: append(label("sluice.network", "bridge"), twoNetworks...), ask: Config{Network: "back"}, want: "web=10.1.0.2:8080"},
		"network that it has not": {ask: Config{Network: "back"}, want: "!container web: it has no address on the network back; those where it has one: bridge"},
		"no network":              {with: []string{`"10.1.0.2"`, `""`}, want: "!container web: it is in no network where it has an address"},
		"no networks at all":      {with: []string{`"NetworkSettings"`, `"Nothing"`}, want: "!container web: it is in no network where it has an address"},
		"the host's network":      {with: []string{`"default"`, `"host"`, `"10.1.0.2"`, `""`}, ask: Config{Port: 82}, want: "web=127.0.0.1:82"},
		"the network of a host far away": {
			with: []string{`"default"`, `"host"`}, ask: Config{Port: 82, Socket: "tcp://10.9.9.9:2375"}, want: "web=10.9.9.9:82",
		},
		"the network of a host by its name": {
			with: []string{`"default"`, `"host"`}, ask: Config{Port: 82, Socket: "tcp://engine:2375"}, want: "!container web: it has the network of its host, engine: write the IP address of that in socket",
		},
		"networks of one that has gone": {
			with: []string{`"default"`, `"container:0123456789abcdef"`}, want: "!container web: it shares the networks of container 0123456789ab, which does not run",
		},
		"networks of itself": {
			with: []string{`"default"`, `"container:web"`}, want: "!container web: it shares the networks of container web, which shares those of others without end",
		},
		"a label that is not known": {
			with: label("sluice.wait", "3"),
			want: "!container web: label sluice.wait is not known: there are " + listed(Labels),
		},
		"paused":               {with: []string{`"running"`, `"paused"`}, want: ""},
		"restarting":           {with: []string{`"running"`, `"restarting"`, `"10.1.0.2"`, `""`}, want: ""},
		"starting":             {with: []string{"5 minutes", "2 seconds (health: starting)"}, want: ""},
		"healthy":              {with: []string{"5 minutes", "5 minutes (healthy)"}, want: "web=10.1.0.2:8080"},
		"unhealthy":            {with: []string{"5 minutes", "5 minutes (unhealthy)"}, want: ""},
		"unhealthy by a field": {with: []string{`"Status"`, `"Health": {"Status": "unhealthy"}, "Status"`}, want: ""},
		"starting by a field":  {with: []string{`"Status"`, `"Health": {"Status": "starting"}, "Status"`}, want: ""},
		"healthy by a field":   {with: []string{`"Status"`, `"Health": {"Status": "healthy"}, "Status"`}, want: "web=10.1.0.2:8080"},
		"unchecked by a field": {with: []string{`"Status"`, `"Health": {"Status": "none"}, "Status"`}, want: "web=10.1.0.2:8080"},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := parseContainers([]byte("[" + sample("web", "10.1.0.2", c.with...) + "]"))
			if err != nil {
				t.Fatal(err)
			}
			marks(nil).judge(all)
			c.ask.Pool = "app"
			if c.ask.Socket == "" {
				c.ask.Socket = DefaultSocket
			}
			var r discovery.Report
			r.Found, r.Warnings = c.ask.Found(all)
			if got := show(r); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestFoundSettings: labels say what a backend is, and what they do not say is the template's.
func TestFoundSettings(t *testing.T) {
	const labels = `"sluice.pool": "app"`
	all, err := parseContainers([]byte("[" + sample("plain", "10.1.0.2") + "," + sample("full", "10.1.0.3", labels,
		labels+`, "sluice.weight": "7", "sluice.max_conns": "0", "sluice.backup": "true", "sluice.listen": ":80"`) + "]"))
	if err != nil {
		t.Fatal(err)
	}
	marks(nil).judge(all)
	c := DefaultConfig("app")
	found, warnings := c.Found(all)
	if len(found) != 2 || len(warnings) != 0 {
		t.Fatalf("found %v, warnings %q", found, warnings)
	}
	full, plain := found[0], found[1] // of one second: by id
	if plain.Settings != (discovery.Settings{}) {
		t.Errorf("no label has said anything, and the settings are %+v", plain.Settings)
	}
	if s := full.Settings; s.Weight == nil || *s.Weight != 7 || s.MaxConns == nil || *s.MaxConns != 0 || s.Backup == nil || !*s.Backup {
		t.Errorf("settings are %+v", s)
	}
}

// TestSharedNetworks: a container that was started to share the networks of another one is reached there.
func TestSharedNetworks(t *testing.T) {
	all, err := parseContainers([]byte("[" + sample("holder", "10.1.0.2", `"app"`, `"none"`) + "," +
		sample("guest", "", `"default"`, `"container:between"`, "8080", "0") + "," +
		sample("between", "", `"default"`, `"container:holder"`, `"app"`, `"none"`) + "]"))
	if err != nil {
		t.Fatal(err)
	}
	marks(nil).judge(all)
	c := DefaultConfig("app")
	var r discovery.Report
	r.Found, r.Warnings = c.Found(all)
	if got := show(r); got != "guest=10.1.0.2:8080" {
		t.Errorf("found %s", got)
	}
}

// TestNotContainers: an answer that is none is an error.
func TestNotContainers(t *testing.T) {
	for text, want := range map[string]string{
		`{"message": "no"}`: "cannot unmarshal object",
		`[{}]`:              "container 1 of 1 has no id",
		`[`:                 "unexpected end",
	} {
		if _, err := parseContainers([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %s", text, err, want)
		}
	}
}
