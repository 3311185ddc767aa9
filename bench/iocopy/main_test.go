package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"sluice/bench/load"
)

func TestRelay(t *testing.T) {
	f := func(proxy bool) {
		t.Helper()
		backend, err := load.StartBackend(load.BackendConfig{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
			Proxy: proxy, OnError: func(err error) { t.Errorf("proxy %v: backend: %v", proxy, err) }})
		if err != nil {
			t.Fatal(err)
		}
		defer backend.Close()
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		go func() {
			for {
				client, err := ln.Accept()
				if err != nil {
					return
				}
				go relay(client.(*net.TCPConn), backend.Addrs()[0].String(), proxy)
			}
		}()
		plan := load.Plan{
			Target:   ln.Addr().(*net.TCPAddr).AddrPort(),
			Duration: time.Second, Patience: time.Minute,
			Flows: []load.Flow{{Work: load.Exchange, Sessions: 4, Size: 64}, {Work: load.Connect, Sessions: 2, Size: 64},
				{Work: load.Download, Sessions: 1}, {Work: load.Upload, Sessions: 1}},
		}
		_, err = load.Run(context.Background(), plan)
		for errors.Is(err, load.ErrNothingMoved) && plan.Duration < time.Minute { // a busy machine does not get to all of it
			plan.Duration *= 4
			_, err = load.Run(context.Background(), plan)
		}
		if err != nil {
			t.Errorf("proxy %v: %v", proxy, err)
		}
	}
	f(false)
	f(true)
}
