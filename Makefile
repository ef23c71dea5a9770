# Two commands do everything on a machine with Python 3.11, make and a package index:
#   make run    sets up, then runs the gateway on its demo plant
#   make test   sets up, then passes the tests
.DEFAULT_GOAL := help
.PHONY: help setup peers run test flaky campaign count fuzz bench lint format lock wheel docker clean

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PEERS  := .peers
JOBS   ?= 2
PYTEST_ARGS ?=
BENCH ?=
N ?= 5
LOAD ?=
TESTS ?=
FUZZ_SECONDS ?= 60

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: $(VENV)/.installed  ## the virtual environment with everything that development needs

$(VENV)/.installed: setup.cfg pyproject.toml requirements-dev.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cpppod needs Python 3.11 or later: make PYTHON=/path/to/python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	$(BIN)/python -m compileall -q cpppod protocols workers
	@touch $@

peers: $(PEERS)/cpppo/.installed $(PEERS)/node/.installed  ## programs that the tests talk to and that need environments of their own

$(PEERS)/cpppo/.installed: tests/peers-cpppo.txt
	$(PYTHON) -m venv $(PEERS)/cpppo
	$(PEERS)/cpppo/bin/python -m pip install --quiet --disable-pip-version-check -r tests/peers-cpppo.txt
	@touch $@

$(PEERS)/node/.installed: examples/package.json
	@mkdir -p $(PEERS)/node
	cp examples/package.json $(PEERS)/node/
	@if command -v npm >/dev/null; then cd $(PEERS)/node && npm install --silent --no-audit --no-fund; \
	else echo "make: npm not found: the test of the Node.js subscriber will say so"; fi
	@touch $@

run: setup  ## the gateway in the foreground, on its demo plant; Ctrl-C stops it
	@exec $(BIN)/cpppod --demo

test: setup peers  ## the test suite
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(PYTEST_ARGS)

flaky: setup peers $(PEERS)/flaky/.installed  ## the tests N times in random order; LOAD=1: beside busy loops; TESTS=paths
	$(BIN)/python tests/flaky.py --plugins $(PEERS)/flaky --runs $(N) $(if $(filter-out 0,$(LOAD)),--load) \
	  -- -n $(JOBS) --dist loadgroup $(PYTEST_ARGS) $(TESTS)

$(PEERS)/flaky/.installed: tests/flaky.txt | setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --upgrade --target $(PEERS)/flaky -r tests/flaky.txt
	@touch $@

campaign: setup peers  ## the long tests: hours of kills, late replies, cut lines
	$(BIN)/python -m pytest -m campaign --timeout 0 -n 0 $(PYTEST_ARGS)

count: setup  ## the counting proof: served = stored + declared gaps + declared errors
	$(BIN)/python -m pytest -m counting --timeout 0 -n 0 $(PYTEST_ARGS)

fuzz: setup  ## every decoder against mutated bytes, FUZZ_SECONDS each
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'atheris>=3'
	$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS)

bench: setup peers  ## measurements side by side with peers; BENCH=name for one of them
	$(BIN)/python bench/run.py $(BENCH)

lint: setup  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## rewrite the sources as ruff would have them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock:  ## pin what setup.cfg asks for: requirements.lock and requirements-dev.lock
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet --disable-pip-version-check pip-tools
	$(VENV)-lock/bin/pip-compile --quiet --strip-extras --generate-hashes --allow-unsafe --no-header \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --extra postgresql -o requirements.lock setup.cfg
	$(VENV)-lock/bin/pip-compile --quiet --strip-extras --generate-hashes --allow-unsafe --no-header \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --extra test --extra lint --extra svg --extra build \
	  -o requirements-dev.lock setup.cfg
	rm -rf $(VENV)-lock

wheel: setup  ## the wheel, in dist/
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-build-isolation --no-deps -w dist .

docker: wheel  ## the container image
	docker build -t cpppod .

clean:  ## remove what was built, the environments included
	rm -rf $(VENV) $(PEERS) build dist *.egg-info .coverage* htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis
