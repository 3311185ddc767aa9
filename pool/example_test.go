package pool_test

import (
	"fmt"
	"net/netip"

	"sluice/pool"
)

func ExampleNew() {
	p, err := pool.New(pool.Config{
		Name:    "web",
		Balance: pool.RoundRobin,
		Backends: []pool.BackendConfig{
			{Name: "one", Address: pool.Address{TCP: netip.MustParseAddrPort("10.0.0.1:80")}, Weight: 1},
			{Name: "two", Address: pool.Address{TCP: netip.MustParseAddrPort("10.0.0.2:80")}, Weight: 1},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := netip.MustParseAddr("192.0.2.1")
	for range 3 {
		b, err := p.Reserve(client, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(b.Name(), b.Address())
		b.Release() // when the session ends
	}
	// Output:
	// one 10.0.0.1:80
	// two 10.0.0.2:80
	// one 10.0.0.1:80
}
