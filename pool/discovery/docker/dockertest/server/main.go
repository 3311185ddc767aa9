// Command server is what runs in the containers of tests: it tells everybody who connects what its host is called, and says
// again what it is told. It ends by itself, so that none is left of a test that was killed.
//
//	server              serve
//	server check        whether it is well: for the engine's health check
//	server sick|well    make it so
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// sickness is there while the server is not well.
const sickness = "/sick"

func main() {
	if len(os.Args) < 2 {
		serve()
		return
	}
	switch os.Args[1] {
	case "check":
		if _, err := os.Stat(sickness); err == nil {
			os.Exit(1)
		}
	case "sick":
		if err := os.WriteFile(sickness, nil, 0o600); err != nil {
			panic(err)
		}
	case "well":
		if err := os.Remove(sickness); err != nil {
			panic(err)
		}
	}
}

func serve() {
	time.AfterFunc(10*time.Minute, func() { os.Exit(3) })
	signal.Ignore(syscall.SIGHUP)
	if os.Getenv("LINGER") != "" {
		signal.Ignore(syscall.SIGTERM)
	}
	host, err := os.Hostname()
	if err != nil {
		panic(err)
	}
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		panic(err)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			panic(err)
		}
		go func() {
			defer c.Close()
			fmt.Fprintln(c, host)
			_, _ = io.Copy(c, c) // the client has gone
		}()
	}
}
