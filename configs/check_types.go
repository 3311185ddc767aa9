package configs

import (
	"strings"

	"sluice/health"
	"sluice/health/probe"
)

// finishType checks what one type of check wants of its keys, and reads the files that it names.
func (c *check) finishType(d *decoder) {
	switch c.Probe.Kind {
	case probe.TLS:
		c.readCA(d)
	case probe.HTTP:
		c.finishHTTP(d)
	case probe.Postgres:
		c.finishPostgres(d)
	case probe.Expect:
		if _, ok := c.given["steps"]; !ok {
			d.report(c.at, `a check of type expect has no steps: add some, for example steps: [{send: "PING\r\n", expect: "+PONG"}]`)
		}
	}
}

// readCA names the certificates to trust. They are read at every handshake, and now to see whether that is possible.
func (c *check) readCA(d *decoder) {
	v, ok := c.has("ca_file")
	if !ok || c.caFile == "" {
		return
	}
	c.Probe.TLS.CAFile = d.path(c.caFile)
	if _, err := probe.ReadCertificates(c.Probe.TLS.CAFile); err != nil {
		d.reportAt(v, "ca_file: %v", err)
	}
}

// finishHTTP refuses what could never be true of an answer, and what is for TLS only.
func (c *check) finishHTTP(d *decoder) {
	if v, ok := c.has("body"); ok && c.Probe.HTTP.Method == "HEAD" && c.Probe.HTTP.Body != "" {
		d.reportAt(v, "body: the answer to HEAD has none: remove it, or write method: GET")
	}
	if !c.Probe.HTTP.TLS && !c.bad["tls"] {
		c.refuseTLSKeys(d, "without TLS: write tls: true, or remove it")
		return
	}
	c.readCA(d)
}

// refuseTLSKeys reports keys that say something of certificates, where none is seen.
func (c *check) refuseTLSKeys(d *decoder, why string) {
	if v, ok := c.has("server_name"); ok && c.Probe.TLS.ServerName != "" {
		d.report(v.at, "server_name is of no use %s", why)
	}
	if v, ok := c.has("ca_file"); ok && c.caFile != "" {
		d.report(v.at, "ca_file is of no use %s", why)
	}
}

// finishPostgres checks how the check logs in and what it wants to hear.
func (c *check) finishPostgres(d *decoder) {
	if _, ok := c.given["user"]; !ok {
		d.report(c.at, "a check of type postgres has no user: add one that may log in, for example user: sluice")
	}
	if v, ok := c.has("max_lag"); ok && c.Role == health.RolePrimary {
		d.reportAt(v, "max_lag says nothing of a primary: remove it, or write it where role is replica")
	}
	switch mode := c.Probe.Postgres.SSLMode; {
	case mode == "disable":
		c.refuseTLSKeys(d, "with sslmode disable: change the mode, or remove it")
	case strings.HasPrefix(mode, "verify-") && c.caFile == "" && !c.bad["ca_file"]:
		d.reportAt(c.given["sslmode"],
			"sslmode %s needs the certificates to trust, those of the system are not used: add ca_file", mode)
	default:
		c.readCA(d)
	}
	if v, ok := c.has("password_file"); ok && c.passwordFile != "" {
		c.Probe.Postgres.PasswordFile = d.path(c.passwordFile)
		if _, err := probe.ReadPassword(c.Probe.Postgres.PasswordFile); err != nil {
			d.reportAt(v, "password_file: %v", err)
		}
	}
}
