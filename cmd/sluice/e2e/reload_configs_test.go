package e2e

// reloadConfigs are what is reloaded, one after the other. Servers are called a1, a2, b1, b2 and k, and those with TLS sa1,
// sa2, sb1 and sb2. In all of them $t0 and $u0 lead to servers a, $t1 to servers b, $k to k, and $s to those of the name
// that is asked for. $c0 and $cu, which come and go, lead to servers a, and $c1 to servers b. Whatever names, rules and
// orders are, that is how a client knows that it is served right.
var reloadConfigs = []string{`
listeners:
  one: {bind: "$t0", pool: a}
  two: {bind: "$t1", pool: b}
  local: {bind: "$u0", pool: a}
  keep: {bind: "$k", pool: keep}
  secure:
    bind: "$s"
    protocol: tls
    routes: [{sni: a.test, pool: sa}, {sni: b.test, pool: sb}]
pools:
  keep: {check: {type: "off"}, backends: [{name: k, address: "$kk"}]}
  a: {check: {type: "off"}, backends: [{name: a1, address: "$a1"}, {name: a2, address: "$a2"}]}
  b: {check: {type: "off"}, backends: [{name: b1, address: "$b1"}]}
  sa: {check: {type: "off"}, backends: [{name: sa1, address: "$sa1"}]}
  sb: {check: {type: "off"}, backends: [{name: sb1, address: "$sb1"}, {name: sb2, address: "$sb2"}]}
`, `
# Listeners have other names and another order, some have lists; addresses come; pools lose and get backends.
listeners:
  come: {bind: ["$c0", "$cu"], pool: a}
  deux: {bind: "$t1", pool: b, deny: [192.0.2.0/24]}
  secure:
    bind: "$s"
    protocol: tls
    routes: [{sni: b.test, pool: sb}, {sni: ["*"], pool: sa}]
  keep: {bind: "$k", pool: keep, max_sessions: 20000}
  one: {bind: ["$t0", "$u0"], pool: a}
pools:
  sb: {check: {type: "off"}, balance: round_robin, backends: [{name: sb2, address: "$sb2"}]}
  b: {check: {type: "off"}, backends: [{name: b2, address: "$b2"}, {name: b1, address: "$b1"}]}
  a: {check: {type: "off"}, backends: [{name: a2, address: "$a2"}]}
  keep: {check: {type: "off"}, backends: [{name: k, address: "$kk"}]}
  sa: {check: {type: "off"}, backends: [{name: sa2, address: "$sa2"}, {name: sa1, address: "$sa1"}]}
`, `
# There are checks, and one listener for all that is not told apart; TLS goes to a pool of its own by a listener of another
# name.
listeners:
  one: {bind: "$t0", pool: a, allow: [127.0.0.0/8], per_client: {sessions: 20000}}
  tls:
    bind: "$s"
    protocol: tls
    routes: [{sni: [a.test, other.test], pool: safe}]
    pool: sb
  two: {bind: ["$t1", "$c1"], pool: b2}
  local: {bind: ["$u0", "$c0"], pool: a}
  keep: {bind: "$k", pool: keep}
pools:
  a:
    check: {interval: 300ms, timeout: 30s}
    backends: [{name: a2, address: "$a2", weight: 3}, {name: a1, address: "$a1"}]
  safe: {check: {interval: 300ms, timeout: 30s}, backends: [{name: sa1, address: "$sa1"}]}
  b2: {check: {interval: 300ms, timeout: 30s}, backends: [{name: b2, address: "$b2"}]}
  sb: {check: {interval: 300ms, timeout: 30s}, backends: [{name: sb1, address: "$sb1"}, {name: sb2, address: "$sb2"}]}
  keep: {check: {interval: 300ms, timeout: 30s}, backends: [{name: k, address: "$kk"}]}
`, `
# The servers that stay in a pool are those that have joined it with the change before: nobody has asked them yet.
listeners:
  local: {bind: "$u0", pool: a}
  one: {bind: ["$t0", "$cu"], pool: a}
  two: {bind: "$t1", pool: b2}
  keep: {bind: "$k", pool: keep}
  tls:
    bind: "$s"
    protocol: tls
    routes: [{sni: b.test, pool: sb}, {sni: a.test, pool: safe}]
pools:
  a:
    check: {interval: 300ms, timeout: 30s}
    backends: [{name: a1, address: "$a1"}]
  safe:
    check: {interval: 300ms, timeout: 30s}
    backends: [{name: sa1, address: "$sa1"}, {name: sa2, address: "$sa2"}]
  b2:
    check: {interval: 300ms, timeout: 30s}
    backends: [{name: b1, address: "$b1"}, {name: b2, address: "$b2"}]
  sb: {check: {interval: 300ms, timeout: 30s}, backends: [{name: sb1, address: "$sb1"}]}
  keep: {balance: first, check: {interval: 300ms, timeout: 30s}, backends: [{name: k, address: "$kk"}]}
`, `
listeners:
  a: {bind: "$u0", pool: a}
  b: {bind: "$t1", pool: b2}
  c: {bind: ["$c1"], pool: b2}
  d: {bind: "$t0", pool: a, deny: [192.0.2.1, 198.51.100.0/24]}
  e: {bind: "$s", protocol: tls, routes: [{sni: a.test, pool: safe}], pool: sb}
  keep: {bind: "$k", pool: keep}
pools:
  b2:
    balance: source_hash
    check: {interval: 300ms, timeout: 30s}
    backends: [{name: b1, address: "$b1"}]
  safe: {check: {interval: 300ms, timeout: 30s}, backends: [{name: sa2, address: "$sa2"}]}
  a:
    check: {interval: 300ms, timeout: 30s}
    backends: [{name: a1, address: "$a1"}, {name: a2, address: "$a2"}]
  sb: {check: {interval: 300ms, timeout: 30s}, backends: [{name: sb2, address: "$sb2"}, {name: sb1, address: "$sb1"}]}
  keep: {check: {type: "off"}, backends: [{name: k, address: "$kk"}]}
`, `
# All names are new but one, and servers swap theirs.
listeners:
  first: {bind: ["$t0", "$u0"], pool: old-a}
  second: {bind: "$t1", pool: old-b}
  keep: {bind: "$k", pool: keep}
  one: {bind: ["$cu", "$c0"], pool: old-a}
  third: {bind: "$s", protocol: tls, routes: [{sni: b.test, pool: old-sb}, {sni: a.test, pool: old-sa}]}
pools:
  old-b: {check: {type: "off"}, backends: [{name: b1, address: "$b2"}, {name: b2, address: "$b1"}]}
  old-a: {check: {type: "off"}, backends: [{name: a1, address: "$a2"}, {name: a2, address: "$a1"}]}
  old-sb: {check: {type: "off"}, backends: [{name: sb1, address: "$sb2"}]}
  old-sa: {check: {type: "off"}, backends: [{name: sa1, address: "$sa2"}]}
  keep: {check: {type: "off"}, backends: [{name: k, address: "$kk"}]}
`}

// wrongConfigs are mistakes that each of reloadConfigs can have.
var wrongConfigs = []wrongConfig{
	{`keep: {bind:`, `keep: {bnid:`, `unknown key "bnid"`},
	{`pool: keep`, `pool: nowhere`, `nowhere`},
	{`keep: {bind:`, `spare: {bind: "$taken", pool: keep}` + "\n  keep: {bind:", `another process listens there`},
	{`keep: {bind:`, `spare: {bind: "127.0.0.1:0", pool: keep, deny: {file: no-such.txt}}` + "\n  keep: {bind:", `no-such.txt`},
	{`keep: {bind:`, `spare: {bind: "$k", pool: keep}` + "\n  keep: {bind:", `keep`},
	{"pools:\n", "pools: {}\nnothing:\n", `nothing`},
	{`name: k,`, `name: k, weight: -1,`, `weight`},
	{`name: k,`, `name: k, "address": "127.0.0.1", `, `address`},
}
