package docker

import "testing"

// TestKey: which engine and which containers are in the key, and what is left open is not.
func TestKey(t *testing.T) {
	for want, c := range map[string]Config{
		"docker unix:/var/run/docker.sock pool=app": DefaultConfig("app"),
		"docker tcp://10.0.0.1:2375 pool=app network=back port=80": {
			Socket: "tcp://10.0.0.1:2375", Pool: "app", Network: "back", Port: 80,
		},
	} {
		if got := c.Key(); got != want {
			t.Errorf("key is %q, want %q", got, want)
		}
	}
}
