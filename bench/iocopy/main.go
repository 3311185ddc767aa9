// Command iocopy is the plainest TCP proxy in Go: two goroutines and two io.Copy per session. It stands in the
// comparison for what a balancer gains over that.
package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "`address` to accept on")
	backends := flag.String("backends", "", "`addresses` to connect to in turn, separated by commas")
	proxy := flag.Bool("proxy", false, "send a PROXY v2 header")
	flag.Parse()
	if err := serve(*listen, strings.Split(*backends, ","), *proxy); err != nil {
		fmt.Fprintln(os.Stderr, "iocopy:", err)
		os.Exit(1)
	}
}

func serve(listen string, backends []string, proxy bool) error {
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	var next atomic.Uint32
	for {
		client, err := ln.Accept()
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		go func() {
			to := backends[next.Add(1)%uint32(len(backends))]
			if err := relay(client.(*net.TCPConn), to, proxy); err != nil {
				fmt.Fprintln(os.Stderr, "iocopy:", err)
			}
		}()
	}
}

func relay(client *net.TCPConn, to string, proxy bool) error {
	defer client.Close()
	conn, err := net.Dial("tcp", to)
	if err != nil {
		return err
	}
	backend := conn.(*net.TCPConn)
	defer backend.Close()
	if proxy {
		if _, err := backend.Write(header(client)); err != nil {
			return err
		}
	}
	var up sync.WaitGroup
	up.Go(func() { pass(backend, client) })
	pass(client, backend)
	up.Wait()
	return nil
}

// pass copies one direction and then its FIN. What ends a session early is for the two peers to see.
func pass(to, from *net.TCPConn) {
	io.Copy(to, from)
	to.CloseWrite()
}

// header is a PROXY v2 header for TCP over IPv4.
func header(client *net.TCPConn) []byte {
	source := client.RemoteAddr().(*net.TCPAddr).AddrPort()
	destination := client.LocalAddr().(*net.TCPAddr).AddrPort()
	b := []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c")
	b = append(b, source.Addr().Unmap().AsSlice()...)
	b = append(b, destination.Addr().Unmap().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, source.Port())
	return binary.BigEndian.AppendUint16(b, destination.Port())
}
