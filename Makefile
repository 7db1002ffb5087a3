# Everything a person or CI runs. `make` alone prints this list.

GO      ?= go
BIN     := bin/event-runtime
SEED    ?=
LINT    := .tools/golangci-lint
LINT_AT := v2.15.0

.DEFAULT_GOAL := help
.PHONY: help deps deps-test build up test lint ci fuzz bench chaos soak clean

help: ## print the targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## install what is missing on this machine (Postgres; needs root or sudo on Debian)
	@.ci/deps

deps-test: deps # what only tests need: Node, TypeScript, Python, promtool
	@.ci/deps-test

build: ## build bin/event-runtime
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN) ./cmd/event-runtime

up: deps build ## run everything on this machine with a regulator simulator and demo traffic
	$(BIN) up --demo

test: deps-test ## all tests, with the race detector; 10 minutes on two warm cores
	@.ci/test

lint: $(LINT) ## gofmt, vet, golangci-lint
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'run gofmt -w on these'; exit 1; }
	$(GO) vet ./...
	$(LINT) run
	cd test/routers && $(GO) vet ./... && ../../$(LINT) run

$(LINT):
	GOBIN=$(CURDIR)/.tools $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_AT)

fuzz: ## every fuzz target for 30 seconds (FUZZ=5m for longer)
	@.ci/fuzz $(or $(FUZZ),30s)

bench: deps ## relay, worker and whole path, each beside a baseline in the same run
	$(GO) run ./test/bench

chaos: deps ## a long chaos run with a printed seed (FOR=10m SEED=n)
	CHAOS_FOR=$(or $(FOR),10m) CHAOS_SEED=$(SEED) $(GO) test -race -count=1 -timeout 0 -run 'Chaos' -v ./test/chaos

soak: deps build ## the demonstration under light chaos for half an hour, then verify
	$(BIN) up --demo --fresh --data-dir .event-runtime/soak --for $(or $(FOR),30m) --rate 200 --chaos light

ci: deps-test lint ## what `make test` runs and the longer rest: all crash points thrice, 10,000 seeds, fuzzing
	SIM_SEEDS=10000 CHAOS_ALL=1 .ci/test
	.ci/fuzz 30s
	@.ci/vulnerabilities

clean: ## remove what was built; data directories stay
	rm -rf bin .tools test-output
