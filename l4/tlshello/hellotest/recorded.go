package hellotest

import (
	"embed"
	"path"
)

//go:embed testdata/hello
var files embed.FS

// A Recording is what a program sent when it was asked for shop.example.com.
type Recording struct {
	Data      []byte
	Protocols []string
}

// protocolsOf are the protocols that the recorded programs offered.
var protocolsOf = map[string][]string{
	"chromium-156":   {"h2", "http/1.1"}, // GREASE, X25519MLKEM768, an ECH that means nothing
	"go-1.26":        {"h2", "http/1.1"}, // X25519MLKEM768
	"openssl-3.0":    {"h2", "http/1.1"},
	"openssl-tls1.0": nil,
	"curl-7.88":      {"h2", "http/1.1"},
	"java-17":        nil,
	"node-20":        {"http/1.1"},
	"psql-15":        nil,
}

// Recorded returns the hellos of programs by their names, so that those of today are read
// on machines of yesterday, too.
func Recorded() map[string]Recording {
	all := map[string]Recording{}
	for name, protocols := range protocolsOf {
		data, err := files.ReadFile(path.Join("testdata/hello", name))
		if err != nil {
			panic(err)
		}
		all[name] = Recording{data, protocols}
	}
	return all
}
