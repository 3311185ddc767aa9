# sluice: every target has one line of help; `make help` lists them.

GO       ?= go
BIN      := ./sluice
PACKAGES := ./...
# Packages whose tests take longest are begun first.
LONGEST  := ./cmd/sluice/e2e ./l4
FUZZTIME ?= 60s
# What the tests run for real, from Debian. Names of packages, not of programs.
DEBIAN   := nginx libnginx-mod-stream postgresql mariadb-server patroni etcd-server haproxy curl openssl util-linux \
	chromium-headless-shell dovecot-imapd prometheus keepalived iproute2 systemd docker.io dnsmasq-base knot
# One program of each package, to see whether it is there.
PROGRAMS := nginx mariadbd patroni etcd haproxy curl openssl setpriv chromium-headless-shell dovecot promtool \
	keepalived ip systemd-analyze dockerd dnsmasq knotd
# SLUICE_TEST_NO_DOCKER=1 leaves out what needs a Docker Engine, where the kernel does not let one run.
# What they run that is not installed.
UNPACKED := .deps
# Linters are run by version, so that go.mod holds only what the program needs.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0

export CGO_ENABLED ?= 0
export PATH := $(PATH):/usr/sbin:/sbin

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build ./sluice
	$(GO) build -trimpath -o $(BIN) ./cmd/sluice

.PHONY: demo
demo: build ## the whole thing on loopback in one process: three backends, a balancer, metrics
	@exec $(BIN) demo

.PHONY: test
test: deps check-format ## vet, then every test with the race detector; installs what they need when root
	$(GO) vet $(PACKAGES)
	@tables=$$(mktemp); SLUICE_TEST_TABLES=$$tables CGO_ENABLED=1 GORACE=atexit_sleep_ms=100 $(GO) test -race -count=1 -timeout 60m $(LONGEST) $(PACKAGES); \
	status=$$?; cat $$tables; rm -f $$tables; exit $$status

.PHONY: deps
deps: ## install the programs that the tests run, or say what to install
	@missing=; for p in $(PROGRAMS); do command -v $$p >/dev/null || missing="$$missing $$p"; done; \
	ls /usr/lib/postgresql/*/bin/postgres /usr/lib/postgresql/*/bin/pgbench >/dev/null 2>&1 || missing="$$missing postgres"; \
	ls /usr/lib/nginx/modules/ngx_stream_module.so >/dev/null 2>&1 || missing="$$missing nginx-stream-module"; \
	command -v gcc >/dev/null || missing="$$missing gcc"; \
	[ -z "$$missing" ] && exec sh cmd/sluice/e2e/tlsname_nginx.sh $(UNPACKED); \
	echo "missing:$$missing"; \
	if [ "$$(id -u)" = 0 ]; then \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(DEBIAN) gcc libc6-dev && \
		sh cmd/sluice/e2e/tlsname_nginx.sh $(UNPACKED); \
	else \
		echo "The tests run these programs for real. Install them with:"; \
		echo "  sudo apt-get install --no-install-recommends $(DEBIAN) gcc libc6-dev"; \
		exit 1; \
	fi

.PHONY: check-format
check-format: ## fail when a file is not gofmt-clean
	@out=$$("$$($(GO) env GOROOT)/bin/gofmt" -l cmd l4 pool health sysutil bench configs) || exit 1; \
	[ -z "$$out" ] || { echo "not gofmt-clean, run 'make format':"; echo "$$out"; exit 1; }

.PHONY: format
format: ## gofmt every file
	"$$($(GO) env GOROOT)/bin/gofmt" -w cmd l4 pool health sysutil bench configs

.PHONY: lint
lint: check-format ## vet and staticcheck
	$(GO) vet $(PACKAGES)
	$(GO) run $(STATICCHECK) $(PACKAGES)

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (60s)
	$(GO) test -run '^$$' -fuzz FuzzProxyHeader -fuzztime $(FUZZTIME) -fuzzminimizetime 20x ./l4/proxyheader
	$(GO) test -run '^$$' -fuzz FuzzPacket -fuzztime $(FUZZTIME) -fuzzminimizetime 20x ./l4/pgwire
	$(GO) test -run '^$$' -fuzz FuzzKeyScanner -fuzztime $(FUZZTIME) -fuzzminimizetime 20x ./l4/pgwire
	$(GO) test -run '^$$' -fuzz FuzzHello -fuzztime $(FUZZTIME) -fuzzminimizetime 20x ./l4/tlshello
	$(GO) test -run '^$$' -fuzz FuzzStartupParams -fuzztime $(FUZZTIME) -fuzzminimizetime 20x ./l4/pgwire
	$(GO) test -run '^$$' -fuzz FuzzParse -fuzztime $(FUZZTIME) -fuzzminimizetime 20x ./configs
	$(GO) test -run '^$$' -fuzz FuzzNetworks -fuzztime $(FUZZTIME) -fuzzminimizetime 20x ./configs
	$(GO) test -run '^$$' -fuzz FuzzBackends -fuzztime $(FUZZTIME) -fuzzminimizetime 20x ./configs
	$(GO) test -run '^$$' -fuzz FuzzReserve -fuzztime $(FUZZTIME) -fuzzminimizetime 20x ./pool
	$(GO) test -run '^$$' -fuzz FuzzContainers -fuzztime $(FUZZTIME) -fuzzminimizetime 20x ./pool/discovery/docker
	$(GO) test -run '^$$' -fuzz FuzzLabels -fuzztime $(FUZZTIME) -fuzzminimizetime 20x ./cmd/sluice/internal/labels
	$(GO) test -run '^$$' -fuzz FuzzReceive -fuzztime $(FUZZTIME) -fuzzminimizetime 20x ./sysutil/handoff
	$(GO) test -run '^$$' -fuzz FuzzAnswer -fuzztime $(FUZZTIME) -fuzzminimizetime 20x ./pool/discovery/dns

.PHONY: bench
bench: deps ## measure against HAProxy, nginx and io.Copy; at most 10 minutes; writes bench/results
	$(GO) run ./bench/run

.PHONY: bench-quick
bench-quick: deps ## the main rows in two minutes
	$(GO) run ./bench/run -quick

.PHONY: bench-upgrade
bench-upgrade: deps ## what upgrades cost long sessions, beside HAProxy and nginx; two minutes; writes bench/results
	$(GO) run ./bench/upgrade

.PHONY: upgrade-faults
upgrade-faults: ## upgrades that go wrong at each point, each in three ways, for 10 seconds where something stands still; six minutes
	SLUICE_UPGRADE_FAULTS=full $(GO) test -count=1 -v -timeout 30m -parallel 10 -run '^TestUpgradeFaults$$' ./cmd/sluice/e2e

.PHONY: reloads
reloads: ## 200 reloads in a minute under load, then what reloads of 10,000 backends cost beside them
	SLUICE_RELOADS=full $(GO) test -count=1 -v -run '^TestReloads$$' ./cmd/sluice/e2e
	$(GO) run ./bench/reload

.PHONY: discovery
discovery: ## a zone that changes in all ways beneath sessions, with a minute of SERVFAIL; then what 10,000 backends cost
	SLUICE_DISCOVERY=full $(GO) test -count=1 -v -run '^TestDNSUnderLoad$$' ./cmd/sluice/e2e
	$(GO) run ./bench/discovery

.PHONY: upgrades
upgrades: ## 50 upgrades in a row beneath 2,220 sessions
	SLUICE_UPGRADES=full $(GO) test -count=1 -v -run '^TestUpgrades$$' ./cmd/sluice/e2e

.PHONY: kill-rate
kill-rate: ## 1,000 sessions killed at 100 in a second: 10 seconds, evenly; on a machine that has nothing else to do
	SLUICE_KILL_RATE=full $(GO) test -count=1 -v -run '^TestKillRate$$' ./cmd/sluice/e2e

.PHONY: cover
cover: ## statement coverage of the packages that need no other program
	$(GO) test -cover ./l4/... ./pool ./health ./configs ./sysutil

.PHONY: clean
clean: ## remove what was built and unpacked
	rm -rf $(BIN) $(UNPACKED)
