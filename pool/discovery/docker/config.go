package docker

import "strconv"

// DefaultSocket is where a Docker Engine listens when nothing else is said.
const DefaultSocket = "unix:/var/run/docker.sock"

// Config says which engine is asked, and for which containers.
type Config struct {
	Socket  string // "unix:/PATH" or "tcp://HOST:PORT"
	Pool    string // what the label sluice.pool says
	Network string // on which the address of a container is taken whose labels say none; "" = on the only one it is in
	Port    uint16 // of containers whose labels say none; 0 = the only one they expose
}

// DefaultConfig returns what is asked for a pool of which nothing more is said.
func DefaultConfig(pool string) Config { return Config{Socket: DefaultSocket, Pool: pool} }

// Key returns what tells this source from others.
func (c *Config) Key() string {
	key := "docker " + c.Socket + " pool=" + c.Pool
	if c.Network != "" {
		key += " network=" + c.Network
	}
	if c.Port != 0 {
		key += " port=" + strconv.Itoa(int(c.Port))
	}
	return key
}
