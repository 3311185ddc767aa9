package configs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"sluice/pool/discovery/docker"
)

var dockerFields = fields[docker.Config]{
	{key: "socket", read: readDockerSocket, shape: textShape},
	{key: "pool", read: readDockerPool, shape: textShape},
	textField("network", "the name of a network", func(c *docker.Config) *string { return &c.Network }),
	port(func(c *docker.Config) *uint16 { return &c.Port }),
}

// readDocker reads the label alone, or a mapping; nothing at all is all containers of the pool on the usual socket.
func readDocker(d *decoder, v value, to *sourceDraft) {
	c := docker.DefaultConfig(to.pool)
	switch v.node.(type) {
	case nil, *ast.NullNode:
	case *ast.MappingNode, *ast.MappingValueNode:
		dockerFields.decode(d, v, &c)
	default:
		readDockerPool(d, v, &c)
	}
	to.Docker = &c
}

func readDockerPool(d *decoder, v value, to *docker.Config) {
	name, ok := d.string(v, "what the label sluice.pool of the containers says")
	if !ok {
		return
	}
	if err := checkName(name); err != nil {
		d.reportAt(v, "pool %v", err)
		return
	}
	to.Pool = name
}

func readDockerSocket(d *decoder, v value, to *docker.Config) {
	text, ok := d.string(v, "where the Docker Engine listens, for example "+docker.DefaultSocket)
	if !ok {
		return
	}
	socket, err := ParseDockerSocket(text)
	if err != nil {
		d.reportAt(v, "%v", err)
		return
	}
	to.Socket = socket
}

// ParseDockerSocket takes unix:/PATH, also as DOCKER_HOST has it with three slashes, and tcp://HOST:PORT.
func ParseDockerSocket(text string) (string, error) {
	if address, ok := strings.CutPrefix(text, "tcp://"); ok {
		_, _, err := parseAddress(address, addressRules{noUnix: true})
		return text, err
	}
	path, ok := strings.CutPrefix(text, "unix:")
	switch {
	case strings.HasPrefix(text, "/"):
		return "", fmt.Errorf("%s is a path: write unix:%s for a socket", quote(text), unquoted(text))
	case !ok:
		return "", fmt.Errorf("socket %s is neither unix:/PATH nor tcp://HOST:PORT", quote(text))
	case strings.HasPrefix(path, "@"):
		return "", errors.New("socket has no path: no Docker Engine listens in the abstract namespace")
	}
	if strings.HasPrefix(path, "///") {
		path = path[len("//"):]
	}
	return "unix:" + path, checkSocketPath(path)
}
