# Two commands do everything on a machine with Python 3.11 or later, make and a package index:
#   make run    sets up, then runs the gateway on its demo plant
#   make test   sets up, then passes the tests
.DEFAULT_GOAL := help
.PHONY: sbom help setup peers run test flaky matrix coverage setup-check unlocked campaign count fleet-ledger systemd-check container-check web-audit fuzz bench lint format lock wheel docker clean

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PEERS  := .peers
JOBS   ?= 2
PYTEST_ARGS ?=
BENCH ?=
N ?= 5
SEED ?=
LOAD ?=
TESTS ?=
FUZZ_SECONDS ?= 60
MATRIX := 3.12 3.13

# The locks keep their extras (coverage[toml]): a pip older than 23.3 takes one without for unlocked.
LOCK := $(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-strip-extras --no-header --upgrade
UV := uv==0.13.9

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(VENV)/.lint  ## the virtual environment with everything that development needs

# An environment grows: what running needs, then the tests, then the tools. Each stamp is a lock installed.
# -S: from the standard library alone, whatever else that Python has.
SET_UP = @$(PYTHON) -S -m tests.installation.set_up
define RUNNING_PYTHON
@$(PYTHON) --version >/dev/null 2>&1 || { echo "make: $(PYTHON) does not run: install Python 3.11 or later, or name one: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "make: cpppod needs Python 3.11 or later, $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=/path/to/python3.11 ...")'
endef

$(VENV)/.run: requirements.lock setup.cfg pyproject.toml
	$(RUNNING_PYTHON)
	$(SET_UP) $(VENV) requirements.lock --project
	@$(BIN)/python -m compileall -q cpppod protocols workers
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	$(SET_UP) $(VENV) requirements-dev.lock
	@touch $@

$(VENV)/.%: requirements-%.lock $(VENV)/.dev
	$(SET_UP) $(VENV) requirements-$*.lock
	@touch $@

peers: $(PEERS)/cpppo/.installed $(PEERS)/sparkplug/.installed $(PEERS)/tahu/.installed $(PEERS)/stacks/.installed $(PEERS)/node/.installed $(PEERS)/stacks-node/.installed  ## programs that the tests talk to and that need environments of their own

$(PEERS)/cpppo/.installed: tests/peers-cpppo.lock
	$(RUNNING_PYTHON)
	$(SET_UP) $(PEERS)/cpppo tests/peers-cpppo.lock --build greenery
	@touch $@

$(PEERS)/sparkplug/.installed: tests/peers-sparkplug.lock
	$(RUNNING_PYTHON)
	$(SET_UP) $(PEERS)/sparkplug tests/peers-sparkplug.lock --build paho-mqtt
	@touch $@

$(PEERS)/tahu/.installed: tests/peers-tahu.lock
	$(RUNNING_PYTHON)
	$(SET_UP) $(PEERS)/tahu tests/peers-tahu.lock
	@touch $@

# The session of instro-ethernetip speaks alone: it is installed without what its instruments need.
$(PEERS)/stacks/.installed: tests/peers-stacks.lock tests/peers-instro.lock
	$(RUNNING_PYTHON)
	$(SET_UP) $(PEERS)/stacks tests/peers-stacks.lock --build connio --build serialio --build sockio
	@$(PEERS)/stacks/bin/python -m pip install -qq --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r tests/peers-instro.lock
	@touch $@

$(PEERS)/node/.installed: examples/package.json examples/package-lock.json
	$(call NODE,examples,the test of the Node.js subscriber)

$(PEERS)/stacks-node/.installed: tests/stacks/package.json tests/stacks/package-lock.json
	$(call NODE,tests/stacks,the tests of other people's Node.js programs)

define NODE
@mkdir -p $(@D)
@cp $(1)/package.json $(1)/package-lock.json $(@D)/
@if ! command -v npm >/dev/null; then echo "make: npm not found: $(2) will say so"; \
else echo "$(@D): the packages of $(1)/package-lock.json"; \
  (cd $(@D) && npm ci --loglevel error --no-audit --no-fund --fetch-retry-mintimeout 2000 --fetch-retry-factor 2 >/dev/null) \
  || { echo "make: npm could not install $(1)/package-lock.json: see its words above" >&2; exit 1; }; \
  touch $@; fi
endef

run: $(VENV)/.run  ## the gateway in the foreground, on its demo plant; Ctrl-C stops it
	@exec $(BIN)/cpppod --demo

test: $(VENV)/.dev peers  ## the test suite
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(PYTEST_ARGS)

flaky: $(VENV)/.dev peers $(PEERS)/flaky/.installed  ## the tests N times in random order; LOAD=1: beside busy loops; TESTS=paths
	$(BIN)/python tests/flaky.py --plugins $(PEERS)/flaky --runs $(N) $(if $(filter-out 0,$(LOAD)),--load) \
	  -- -n $(JOBS) --dist loadgroup $(PYTEST_ARGS) $(TESTS)

$(PEERS)/flaky/.installed: tests/flaky.lock | $(VENV)/.dev
	@echo "$(PEERS)/flaky: the packages of tests/flaky.lock"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --no-deps --upgrade --target $(PEERS)/flaky -r tests/flaky.lock
	@touch $@

matrix: peers $(MATRIX:%=matrix-%)  ## the tests that differ by version of Python, on python3.12 and python3.13

matrix-%:
	@if python$* --version >/dev/null 2>&1; then \
	  $(MAKE) --no-print-directory VENV=$(VENV)-$* PYTHON=python$* \
	    PYTEST_ARGS='-q tests/protocols tests/configuration tests/client $(PYTEST_ARGS)' test; \
	else echo "make: python$* does not run here: nothing was tested with it"; test "$$CI" != true; fi

coverage: $(VENV)/.dev  ## branch coverage of each module of protocols/ by tests/protocols alone
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadgroup tests/protocols \
	  --cov=cpppod.protocols --cov-branch --cov-report=json:.coverage.json $(PYTEST_ARGS)
	@$(BIN)/python tests/coverage_gate.py .coverage.json

setup-check:  ## set up with old and new pips, in new environments; then with the newest of everything
	$(RUNNING_PYTHON)
	@$(PYTHON) -S -m tests.installation.setup_check

unlocked:  ## install with the newest of everything, and run the demo plant until its first values
	$(RUNNING_PYTHON)
	@$(PYTHON) -S -m tests.installation.setup_check unlocked

campaign: $(VENV)/.dev peers  ## the long tests: hours of kills, late replies, cut lines
	$(BIN)/python -m pytest -m campaign --timeout 0 -n 0 $(PYTEST_ARGS)

# Packets can be lost in a network namespace of the run's own alone.
NAMESPACE = unshare --net sh -c 'ip link set lo up && FLEET_NAMESPACE=1 exec "$$@"' fleet
fleet-ledger: $(VENV)/.dev  ## four gateways, three NATS servers, PostgreSQL: faults for FLEET_SECONDS (300); SEED=n
	@if unshare --net sh -c 'ip link set lo up && nft list tables' >/dev/null 2>&1; then set -- $(NAMESPACE); \
	else echo "make: no network namespace or nft here: no packets are lost"; set --; fi; \
	FLEET_SEED=$(SEED) "$$@" $(BIN)/python -m pytest -q -s -m campaign --timeout 0 -n 0 $(PYTEST_ARGS) tests/fleet/test_ledger.py

count: $(VENV)/.dev  ## the counting proof: served = stored + declared gaps + declared errors
	$(BIN)/python -m pytest -m counting --timeout 0 -n 0 $(PYTEST_ARGS)

systemd-check: $(VENV)/.dev  ## docs/installation.md in a Debian that systemd boots; root, Debian's packages
	$(BIN)/python -m tests.installation.systemd_check

container-check: $(VENV)/.dev  ## the image and compose.yaml by podman; root, Debian's packages
	$(BIN)/python -m tests.installation.container_check

web-audit: $(VENV)/.dev $(PEERS)/web-audit/.installed  ## what axe-core, lighthouse, redocly and schemathesis say of the web page
	$(BIN)/python tests/web_audit.py

$(PEERS)/web-audit/.installed: tests/web-audit.lock tests/web-audit/package.json tests/web-audit/package-lock.json
	$(RUNNING_PYTHON)
	$(SET_UP) $(PEERS)/web-audit tests/web-audit.lock
	@cp tests/web-audit/package.json tests/web-audit/package-lock.json $(PEERS)/web-audit/
	@cd $(PEERS)/web-audit && npm ci --loglevel error --no-audit --no-fund >/dev/null
	@touch $@

fuzz: $(VENV)/.fuzz  ## every decoder against mutated bytes, FUZZ_SECONDS each
	$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS)

bench: $(VENV)/.dev peers  ## measurements side by side with peers; BENCH=name for one of them
	$(BIN)/python bench/run.py $(BENCH)

lint: $(VENV)/.lint  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.lint  ## rewrite the sources as ruff would have them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock:  ## pin the newest of what setup.cfg, pyproject.toml, the peers and the examples ask for
	$(RUNNING_PYTHON)
	@$(PYTHON) -m venv $(VENV)-lock
	@$(VENV)-lock/bin/python -m pip install --quiet --disable-pip-version-check $(UV)
	$(LOCK) --extra postgresql --extra mqtt --extra fleet -o requirements.lock setup.cfg
	$(LOCK) --extra test --extra svg --extra build -c requirements.lock -o requirements-dev.lock setup.cfg
	$(LOCK) --group lint -c requirements-dev.lock -o requirements-lint.lock
	$(LOCK) --group build -c requirements-dev.lock -o requirements-build.lock
	$(LOCK) --group flaky --no-deps -o tests/flaky.lock
	$(LOCK) --group web-audit -o tests/web-audit.lock
	$(LOCK) --group sbom -o requirements-sbom.lock
	$(LOCK) --group fuzz -c requirements-dev.lock -o requirements-fuzz.lock
	$(LOCK) -o tests/peers-cpppo.lock tests/peers-cpppo.txt
	$(LOCK) -o tests/peers-sparkplug.lock tests/peers-sparkplug.txt
	$(LOCK) -o tests/peers-stacks.lock tests/peers-stacks.txt
	$(LOCK) --no-deps -o tests/peers-instro.lock tests/peers-instro.txt
	$(LOCK) -o tests/peers-tahu.lock tests/peers-tahu.txt
	@rm -rf $(VENV)-lock
	cd examples && npm update --package-lock-only --omit-lockfile-registry-resolved --silent
	cd tests/stacks && npm update --package-lock-only --omit-lockfile-registry-resolved --silent
	cd tests/web-audit && npm update --package-lock-only --omit-lockfile-registry-resolved --silent

wheel: $(VENV)/.dev  ## the wheel, in dist/
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-build-isolation --no-deps -w dist .

sbom: $(PEERS)/sbom/.installed  ## what runs, package by package with versions and hashes: dist/cpppod.cdx.json
	@mkdir -p dist
	$(PEERS)/sbom/bin/cyclonedx-py requirements requirements.lock --output-format JSON --output-file dist/cpppod.cdx.json

$(PEERS)/sbom/.installed: requirements-sbom.lock
	$(RUNNING_PYTHON)
	$(SET_UP) $(PEERS)/sbom requirements-sbom.lock
	@touch $@

docker: wheel  ## the container image
	docker build -t cpppod .

clean:  ## remove what was built, the environments included
	rm -rf $(VENV) $(MATRIX:%=$(VENV)-%) $(PEERS) .hosts build dist *.egg-info .coverage* htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis
