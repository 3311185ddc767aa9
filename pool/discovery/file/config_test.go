package file

import "testing"

func TestKey(t *testing.T) {
	if got, want := (&Config{Path: "/etc/sluice/app.yaml"}).Key(), "file /etc/sluice/app.yaml"; got != want {
		t.Errorf("key is %q, want %q", got, want)
	}
}
