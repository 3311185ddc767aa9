package health_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"sluice/health"
	"sluice/pool"
)

func ExampleNew() {
	l, err := net.Listen("tcp", "127.0.0.1:0") // a server that works
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	p, err := pool.New(pool.Config{Name: "web", Backends: []pool.BackendConfig{
		{Name: "alive", Address: pool.Address{TCP: l.Addr().(*net.TCPAddr).AddrPort()}, Weight: 1},
		{Name: "dead", Address: pool.Address{TCP: netip.MustParseAddrPort("127.0.0.1:1")}, Weight: 1},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}

	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	checked := make(chan string)
	m, err := health.New([]health.Watched{{Pool: p, Config: health.DefaultConfig()}}, health.Options{
		OnProbe: func(b *pool.Backend, _ time.Duration, _ error) { checked <- b.Name() },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	go m.Run(ctx)
	<-checked
	<-checked
	for _, b := range p.Backends() {
		fmt.Println(b.Name(), "up:", b.Stats().Up)
	}
	// Output:
	// alive up: true
	// dead up: false
}
