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
		c.readTLSFiles(d)
	case probe.HTTP:
		c.finishHTTP(d)
	case probe.Postgres, probe.MySQL:
		c.finishLogin(d)
	case probe.Expect:
		if _, ok := c.given["steps"]; !ok {
			d.report(c.at, `a check of type expect has no steps: add some, for example steps: [{send: "PING\r\n", expect: "+PONG"}]`)
		}
		c.finishInTLS(d)
	}
}

// readTLSFiles names the files of TLS. They are read at every handshake, and now to see whether that is possible.
func (c *check) readTLSFiles(d *decoder) {
	if v, ok := c.has("ca_file"); ok && c.caFile != "" {
		path := d.path(v, c.caFile)
		c.Probe.TLS.CAFile = path
		if err := d.tryFile("ca_file", path, func() error { _, err := probe.ReadCertificates(path); return err }); err != nil {
			d.reportAt(v, "ca_file: %v", err)
		}
	}
	cert, hasCert := c.has("cert")
	key, hasKey := c.has("key")
	hasCert, hasKey = hasCert && c.certFile != "", hasKey && c.keyFile != ""
	switch {
	case c.bad["cert"] || c.bad["key"] || !hasCert && !hasKey:
	case !hasKey:
		d.reportAt(cert, "cert needs its key: add key: PATH, or remove cert")
	case !hasCert:
		d.reportAt(key, "key is of no use without the certificate: add cert: PATH, or remove key")
	default:
		certPath, keyPath := d.path(cert, c.certFile), d.path(key, c.keyFile)
		c.Probe.TLS.CertFile, c.Probe.TLS.KeyFile = certPath, keyPath
		read := func() error { _, err := probe.ReadKeyPair(certPath, keyPath); return err }
		if err := d.tryFile("key of "+keyPath, certPath, read); err != nil {
			d.reportAt(cert, "cert: %v", err)
		}
		d.checkSecret(key, keyPath)
	}
}

// finishHTTP refuses what could never be true of an answer, and what cannot be asked.
func (c *check) finishHTTP(d *decoder) {
	if v, ok := c.has("body"); ok && c.Probe.HTTP.Method == "HEAD" && c.Probe.HTTP.Body != "" {
		d.reportAt(v, "body: the answer to HEAD has none: remove it, or write method: GET")
	}
	if v, ok := c.has("path"); ok && c.Probe.HTTP.Path == "*" && c.Probe.HTTP.Method != "OPTIONS" && !c.bad["method"] {
		d.reportAt(v, `path "*" belongs to method: OPTIONS: write that, or a path that begins with /`)
	}
	c.finishInTLS(d)
}

// finishInTLS refuses what is for TLS only where there is none.
func (c *check) finishInTLS(d *decoder) {
	if !c.Probe.InTLS && !c.bad["tls"] {
		c.refuseTLSKeys(d, "without TLS: write tls: true, or remove it")
		return
	}
	c.readTLSFiles(d)
}

// refuseTLSKeys reports keys that say something of certificates, where none is seen.
func (c *check) refuseTLSKeys(d *decoder, why string) {
	if v, ok := c.has("server_name"); ok && c.Probe.TLS.ServerName != "" {
		d.report(v.at, "server_name is of no use %s", why)
	}
	for _, file := range []struct{ key, path string }{{"ca_file", c.caFile}, {"cert", c.certFile}, {"key", c.keyFile}} {
		if v, ok := c.has(file.key); ok && file.path != "" {
			d.report(v.at, "%s is of no use %s", file.key, why)
		}
	}
}

// finishLogin checks how the check logs in and what it wants to hear.
func (c *check) finishLogin(d *decoder) {
	if _, ok := c.given["user"]; !ok {
		d.report(c.at, "a check of type %v has no user: add one that may log in, for example user: sluice", c.Probe.Kind)
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
		c.readTLSFiles(d)
	}
	if v, ok := c.has("password_file"); ok && c.passwordFile != "" {
		path := d.path(v, c.passwordFile)
		c.Probe.Postgres.PasswordFile = path
		if err := d.tryFile("password_file", path, func() error { _, err := probe.ReadPassword(path); return err }); err != nil {
			d.reportAt(v, "password_file: %v", err)
		}
		d.checkSecret(v, path)
	}
}
