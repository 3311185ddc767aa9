package configs_test

import (
	"fmt"

	"sluice/configs"
)

func ExampleParse() {
	file, err := configs.Parse("sluice.yaml", []byte(`
listeners:
  web: {bind: ":8080", pool: app}
pools:
  app: {balance: round_robin, backends: [10.0.0.1:80, 10.0.0.2:80]}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, l := range file.Listeners {
		p := file.Pool(l.Pool)
		fmt.Println(l.Name, p.Config.Balance, len(p.Config.Backends), p.Health.Interval)
	}
	// Output: web round_robin 2 2s
}

func ExampleProblems() {
	_, err := configs.Parse("sluice.yaml", []byte(`listeners:
  web: {bind: ":8080", pool: ap}
pools:
  app:
    balanse: first
    check: {interval: 2}
    backends: [10.0.0.1:80]
`))
	fmt.Println(err)
	// Output:
	// sluice.yaml:2:30: pool "ap" does not exist: did you mean app?
	//     web: {bind: ":8080", pool: ap}
	//                                ^
	// sluice.yaml:5:5: unknown key "balanse" in pool "app": did you mean balance?
	//       balanse: first
	//       ^
	// sluice.yaml:6:23: interval is a number without a unit: write a unit, for example 3s
	//       check: {interval: 2}
	//                         ^
}
