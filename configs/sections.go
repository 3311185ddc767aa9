package configs

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"sluice/l4"
	"sluice/pool"
)

// decode reads the whole configuration and checks what its parts say of each other. defaults are read first, wherever
// they are; keys that begin with x- are for what aliases stand for.
func (d *decoder) decode(root ast.Node, file *File) {
	whole := value{name: "the file", at: d.place(root), node: root}
	if len(d.sources) > 1 {
		whole.name = "the configuration"
	}
	if m, ok := root.(*ast.MappingNode); ok {
		m.Values = slices.DeleteFunc(m.Values, func(n *ast.MappingValueNode) bool {
			return strings.HasPrefix(n.Key.GetToken().Value, "x-")
		})
		slices.SortStableFunc(m.Values, func(a, b *ast.MappingValueNode) int { return cmp.Compare(rank(a), rank(b)) })
	}
	fileFields.decode(d, whole, file)
	file.Written = d.written(whole, "listeners", "pools", "defaults")
	d.checkPoolRefs()
	if !d.adminListens {
		d.bindAdmin(file)
	}
}

func rank(n *ast.MappingValueNode) int {
	if n.Key.GetToken().Value == "defaults" {
		return 0
	}
	return 1
}

// bindAdmin notes the default admin address, which a listener could be in the way of.
func (f *findings) bindAdmin(file *File) {
	a, _, err := parseAddress(file.Admin.Listen, addressRules{listen: true})
	if err == nil {
		f.binds = slices.Insert(f.binds, 0, bindSite{owner: "admin.listen (its default)", address: &a})
	}
}

// readAdminListen reads an address, or a mapping.
func readAdminListen(d *decoder, v value, to *Admin) {
	switch v.node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		adminListenFields.decode(d, v, to)
	default:
		readAdminAddress(d, v, to)
	}
}

func readAdminAddress(d *decoder, v value, to *Admin) {
	d.adminListens = true
	to.Listen = d.adminAddress(v, "admin.listen")
}

func readAdminMetrics(d *decoder, v value, to *Admin) {
	to.Metrics = d.adminAddress(v, "admin.metrics")
}

// adminAddress reads an address that owner listens on; "" = none.
func (d *decoder) adminAddress(v value, owner string) string {
	rules := addressRules{listen: true, noUnix: true}
	text, ok := d.string(v, rules.want()+`; or "" for none`)
	if !ok || text == "" {
		return text
	}
	address := new(pool.Address)
	d.address(d.place(v.node), text, rules, address)
	d.binds = append(d.binds, bindSite{at: d.place(v.node), owner: owner, address: address})
	return text
}

func readAdminAllow(d *decoder, v value, to *Admin) {
	const want = "a network (ADDRESS/BITS) or an address that may ask, for example 10.0.0.0/8"
	items := d.items(v, want)
	for _, item := range items {
		text, ok := d.string(item, want)
		if !ok {
			continue
		}
		network, err := parsePrefix(text)
		if err != nil {
			d.reportAt(item, "%v", err)
		}
		to.Allow = append(to.Allow, network)
	}
}

func readAdminHosts(d *decoder, v value, to *Admin) {
	const want = "a name that the admin address is asked by, for example metrics.internal"
	for _, item := range d.items(v, want) {
		text, ok := d.string(item, want)
		if !ok {
			continue
		}
		if err := checkAdminHost(text); err != nil {
			d.reportAt(item, "%v", err)
		}
		to.Hosts = append(to.Hosts, strings.ToLower(strings.TrimSuffix(text, ".")))
	}
}

// checkAdminHost takes a name alone. Addresses need no permission.
func checkAdminHost(text string) error {
	if _, err := netip.ParseAddr(text); err == nil {
		return fmt.Errorf("%s is an address: these are answered anyhow, remove it", quote(text))
	}
	if name, port, ok := strings.Cut(text, ":"); ok && strings.Trim(port, "0123456789") == "" {
		return fmt.Errorf("%s has a port: write the name alone, %s", quote(text), unquoted(name))
	}
	if text == "" {
		return errors.New("hosts has an empty name: remove it")
	}
	return checkHostName(text)
}

// A listenerDraft is a listener whose routes are held against each other when all of its keys were read.
type listenerDraft struct {
	Listener
	keyNotes
	routes   []*routeDraft // as Routes
	socketAt *place        // where socket is; nil = nowhere
}

func readListeners(d *decoder, v value, to *File) {
	d.named(v, "listener", func(name string, v value) {
		l := listenerDraft{Listener: defaultListener(name)}
		v.under = d.under.listeners
		listenerFields.decode(d, v, &l)
		l.finishRoutes(d)
		l.checkCancels(d)
		l.finishSocket(d)
		l.Written = d.written(v)
		to.Listeners = append(to.Listeners, l.Listener)
	})
}

func readBind(d *decoder, v value, to *listenerDraft) {
	rules := addressRules{listen: true}
	type bind struct {
		at   place
		text string
	}
	var binds []bind
	for _, item := range d.items(v, rules.want()) {
		text, ok := d.string(item, rules.want())
		if !ok {
			continue
		}
		texts, err := portRange(text)
		if err != nil {
			d.reportAt(item, "%v", err)
		}
		for _, text := range texts {
			binds = append(binds, bind{d.place(item.node), text})
		}
	}
	to.Bind = make([]pool.Address, len(binds)) // they stay where they are: names are resolved later
	for i, b := range binds {
		d.address(b.at, b.text, rules, &to.Bind[i])
		d.binds = append(d.binds, bindSite{at: b.at, owner: "listener " + quote(to.Name), address: &to.Bind[i], sessions: true})
	}
}

func readAcceptProxy(d *decoder, v value, to *listenerDraft) {
	to.AcceptProxy = defaultAcceptProxy()
	acceptProxyFields.decode(d, v, to.AcceptProxy)
}

func readFrom(d *decoder, v value, to *l4.AcceptProxy) {
	const want = "a network (ADDRESS/BITS) that may send the header, for example 10.0.0.0/8"
	items := d.items(v, want)
	to.From = make([]netip.Prefix, len(items))
	for i, item := range items {
		text, ok := d.string(item, want)
		if !ok {
			continue
		}
		prefix, err := parsePrefix(text)
		if err != nil {
			d.reportAt(item, "%v", err)
		}
		to.From[i] = prefix
	}
}

// A poolRef is a place that names a pool.
type poolRef struct {
	at   place
	name string
}

func readDefaultPool(d *decoder, v value, to *listenerDraft) { readPoolRef(d, v, &to.Pool) }

func readPoolRef(d *decoder, v value, to *string) {
	if name, ok := d.string(v, "the name of a pool"); ok {
		*to = name
		d.poolRefs = append(d.poolRefs, poolRef{d.place(v.node), name})
	}
}

func (d *decoder) addPool(name string, at place) {
	d.pools[name] = true
	d.poolAt = append(d.poolAt, at)
	d.poolNames = append(d.poolNames, name)
}

// checkPoolRefs reports pools that do not exist. Without any pool it is silent: that has been reported.
func (d *decoder) checkPoolRefs() {
	for _, r := range d.poolRefs {
		switch {
		case len(d.pools) == 0 || d.pools[r.name]:
		case len(d.problems) > maxProblems: // only counted: what was meant is not worth looking for
			d.report(r.at, "")
		default:
			d.report(r.at, "pool %s does not exist: %s", quote(r.name), advise(r.name, d.poolNames, "pools"))
		}
	}
}

// A poolDraft is a pool whose check and on_down are not complete before all of its keys were read.
type poolDraft struct {
	Pool
	keyNotes
	check     *check
	onDown    onDown
	sourcesAt place
	failback  bool
	template  pool.BackendConfig // of what discover finds
}

func readPools(d *decoder, v value, to *File) {
	d.named(v, "pool", func(name string, v value) {
		d.addPool(name, v.at)
		v.under = d.under.pools
		p := poolDraft{Pool: defaultPool(name), check: newCheck(v.at), failback: true, template: defaultBackend()}
		poolFields.decode(d, v, &p)
		p.finishTLVs(d)
		p.finishDiscover(d)
		p.finishSources(d, len(to.Pools))
		p.finishFailback(d)
		p.finishRebalance(d)
		p.check.finish(d, &p.Pool)
		p.onDown.apply(&p.check.OnDown)
		p.Health = p.check.Config
		p.Written = d.written(v, "backends")
		d.checks = append(d.checks, checkSite{len(to.Pools), p.check.at, p.check.address})
		to.Pools = append(to.Pools, p.Pool)
	})
}

// finishFailback refuses failback where no backend is before the others.
func (p *poolDraft) finishFailback(d *decoder) {
	p.Config.NoFailback = !p.failback
	if v, ok := p.given["failback"]; ok && !p.failback && !p.bad["balance"] && p.Config.Balance != pool.First {
		d.report(v.at, "failback: false is for balance: first, and balance is %v: write balance: first, or remove it",
			p.Config.Balance)
	}
}
