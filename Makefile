# `make` lists the targets. Nothing is installed outside this folder, and nothing is built again for nothing.

PYTHON ?= python3
CORES := $(shell nproc 2>/dev/null || echo 2)
# Tests wait, too: for processes that start, and for deadlines.
WORKERS := $(shell expr $(CORES) + 1)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup up dist dist-quick bench bench-quick bench-setup test lint lint-python lint-typescript test-c test-node test-python test-newest test-dist test-examples test-compose docs model chaos fuzz soak audit clean FORCE

venv := .venv
python := $(venv)/bin/python
# A stamp is written when its step has succeeded, in the folder that the step fills: gone with it.
packages := $(venv)/.packages
dev_packages := $(venv)/.dev-packages
binding := $(venv)/.binding
node_packages := node_modules/.packages
library := shm_protocol/node/dist/.built
peer_packages := bench/peers/node_modules/.packages
older_types := shm_protocol/node/test/older_types/node_modules/.packages
type_checkers := tests/type_checkers/node_modules/.packages
example_packages := examples/node_modules/.packages
release_packages := $(venv)/.release-packages
release_tools := release/node_modules/.packages
release_consumers := release/tests/tools/node_modules/.packages

core_sources := $(wildcard shm_protocol/core/*.[ch]) shm_protocol/errors.json
binding_sources := pyproject.toml $(wildcard setup.py shm_protocol/python/shm_protocol/_[a-z]*.p*)
library_sources := tsconfig.base.json $(wildcard shm_protocol/node/*.json shm_protocol/node/*.mjs) \
  $(shell find shm_protocol/node/src -type f)
npm_manifests := package.json package-lock.json $(wildcard */package.json */*/package.json)

help:
	@echo 'make up            set everything up, run both sides in the foreground; Ctrl-C ends both'
	@echo 'make test          set everything up, run every test and check'
	@echo 'make dist          what would be published, into dist/: wheels, source distribution, npm package; checked'
	@echo 'make dist-quick    of the wheels only the one for this Python and machine: to install here, or to try things'
	@echo 'make bench-quick   measure the main round trips, in under three minutes'
	@echo 'make bench         measure everything: calls, HTTP, cold start, memory'
	@echo 'make bench-setup   install what the bench compares with, as far as it can be had'
	@echo 'make lint          ruff, mypy, tsc, eslint'
	@echo 'make test-c        the C core, plain and under the sanitizers'
	@echo 'make test-node     the TypeScript library and server'
	@echo 'make test-python   the Python library and all that needs both languages'
	@echo 'make test-newest   the libraries and the pairing on the newest Python and Node that can be had'
	@echo 'make test-examples each example, installed by itself as its README says; a few minutes, and no part of make test'
	@echo 'make test-dist     make dist, and install it on every Python and Node that can be had'
	@echo 'make test-compose  the containers; needs a Docker engine and Compose'
	@echo 'make docs          the pages and the reference of both libraries, into build/docs; their links are checked'
	@echo 'make model         verify the model of the ring with Spin'
	@echo 'make chaos         kill, stop, restart either side in every way, let functions and clients misbehave; 15 minutes'
	@echo 'make fuzz          fuzz the core and the decoders for 10 s each; needs clang'
	@echo 'make soak          full load for 10 minutes: does anything come to hold more?'
	@echo 'make audit         ask the registries for known vulnerabilities of what is locked'
	@echo 'make setup         only install and build'
	@echo 'make clean         remove everything that was installed or built here'
	@echo
	@echo 'PYTHON=python3.12 make ... uses that Python. README.md lists the settings of the services.'

setup: $(binding) $(library)

up: setup
	@exec $(python) -m python_side.up

dist: setup $(release_packages) $(release_tools)
	@exec $(python) -m release

dist-quick: setup $(release_packages) $(release_tools)
	@exec $(python) -m release --quick

bench: setup $(dev_packages)
	@exec $(python) -m bench

bench-quick: setup $(dev_packages)
	@exec $(python) -m bench --quick

# A peer that cannot be had here is no failure: the bench lists it as skipped.
bench-setup: setup $(dev_packages) $(peer_packages)
	npm run --silent typecheck:peers
	@exec $(python) -m bench.setup

# First what takes one core each, side by side; the tests that follow take all there are.
test:
	@$(MAKE) --no-print-directory --jobs=$(CORES) --output-sync=target lint test-c
	@$(MAKE) --no-print-directory test-node test-python test-compose

lint: lint-python lint-typescript

lint-python: setup $(dev_packages)
	$(venv)/bin/ruff check .
	$(venv)/bin/ruff format --check .
	$(venv)/bin/mypy

lint-typescript: setup $(example_packages)
	npm run --silent typecheck
	npm run --silent lint

test-c: .make/toolchain
	$(MAKE) -C shm_protocol/core test

test-node: setup $(older_types)
	npm run --silent test

# The tests of the release make a quick one; `make test-dist` a whole one.
test-python: setup $(dev_packages) $(release_packages) $(release_tools) $(example_packages) $(type_checkers)
	$(python) -m pytest --numprocesses=$(WORKERS) --ignore=tests/test_compose.py

# The newest Node is one of what the npm package is tried with; Python comes from a registry too.
test-newest: setup $(dev_packages) $(older_types) $(release_consumers)
	@exec $(python) -m tests.newest

# What a release has is installed for real, so the registries are asked.
test-dist: dist $(release_consumers)
	SHM_POLYGLOT_DIST=$(CURDIR)/dist $(python) -m pytest -rs --numprocesses=$(CORES) release/tests

test-examples: dist $(dev_packages)
	SHM_POLYGLOT_DIST=$(CURDIR)/dist $(python) -m pytest --numprocesses=$(CORES) tests/test_examples.py

# After the rest: it is the slowest, and it builds what the rest has found sound.
test-compose: setup $(dev_packages)
	$(python) -m pytest -rs tests/test_compose.py

docs: setup $(dev_packages)
	npm run --silent docs -- --logLevel Warn
	$(python) -W error -m docs.reference.python_pages build/docs/python
	npm run --silent links:built -- build/docs --recurse
	@echo 'build/docs/index.html'

model:
	@shm_protocol/model/run

chaos: setup $(dev_packages)
	@exec $(python) -m tests.chaos

fuzz: setup $(dev_packages)
	@[ -d build/fuzz/python/atheris ] || $(python) -m fuzz setup
	@exec $(python) -m fuzz

soak: setup $(dev_packages)
	@exec $(python) -m tests.soak

audit: .make/toolchain
	@$(PYTHON) tests/audit.py

clean:
	rm -rf .venv .make node_modules bench/peers/node_modules shm_protocol/node/test/older_types/node_modules examples/node_modules
	rm -rf tests/type_checkers/node_modules
	rm -rf dist release/node_modules release/tests/tools/node_modules
	rm -rf build shm_protocol/node/build shm_protocol/node/dist node_side/dist bench/build
	rm -f shm_protocol/python/shm_protocol/_*.so shm_protocol/python/shm_protocol/_*.c
	$(MAKE) -C shm_protocol/core clean

# Always looked at, because machines change under a working tree; written only when the Python has changed.
# The `+` runs it under `make --dry-run` too, which would otherwise take it for changed.
.make/toolchain: FORCE
	+@sh shm_protocol/preconditions.sh '$(PYTHON)' $@

$(packages): requirements.lock .make/toolchain
	$(PYTHON) -m venv --clear $(venv)
	$(python) -m pip install --quiet --require-hashes -r requirements.lock
	@touch $@

# A stamp does not say that what was built is still there.
modules := $(patsubst %.pyx,%,$(wildcard shm_protocol/python/shm_protocol/*.pyx))
addon := shm_protocol/node/build/shm_protocol.node
# Those of another Python may stand beside them, as `make test-newest` has it.
ending := $(shell $(PYTHON) -E -S -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))' 2>/dev/null)
missing_modules := $(strip $(foreach module,$(modules),$(if $(wildcard $(module)$(ending)),,$(module))))
$(if $(missing_modules),$(binding)) $(if $(wildcard $(addon)),,$(library)): FORCE

$(binding): $(packages) $(core_sources) $(binding_sources)
	SHM_POLYGLOT_EXTENSIONS=required $(python) -m pip install --quiet --no-build-isolation --no-deps --editable .
	@touch $@

# After the binding, because two pips in one environment get in each other's way under `make -j`.
$(dev_packages): requirements-dev.lock $(packages) | $(binding)
	$(python) -m pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

$(release_packages): requirements-release.lock $(dev_packages)
	$(python) -m pip install --quiet --require-hashes -r requirements-release.lock
	@touch $@

$(release_tools): release/package.json release/package-lock.json | .make/toolchain
	npm ci --prefix release --ignore-scripts --no-audit --no-fund --no-progress --loglevel=error
	@touch $@

# Every Node, TypeScript, bundler and test runner that the npm package is tried with.
$(release_consumers): release/tests/tools/package.json release/tests/tools/package-lock.json | .make/toolchain
	npm ci --prefix release/tests/tools --ignore-scripts --no-audit --no-fund --no-progress --loglevel=error
	@touch $@

$(node_packages): $(npm_manifests) | .make/toolchain
	npm ci --no-audit --no-fund --no-progress --no-update-notifier --loglevel=error
	@touch $@

# The peers in TypeScript. No install script of theirs is run here.
$(peer_packages): bench/peers/package.json bench/peers/package-lock.json | .make/toolchain
	npm ci --prefix bench/peers --ignore-scripts --no-audit --no-fund --no-progress --loglevel=error
	@touch $@

# A compiler and types that the library's declarations are tried with. No workspace: its tsc is not to be found by others.
$(older_types): $(wildcard shm_protocol/node/test/older_types/*.json) | .make/toolchain
	npm ci --prefix shm_protocol/node/test/older_types --ignore-scripts --no-audit --no-fund --no-progress --loglevel=error
	@touch $@

# What generated declarations and stub files are tried with. No workspace, likewise.
$(type_checkers): $(wildcard tests/type_checkers/*.json) | .make/toolchain
	npm ci --prefix tests/type_checkers --ignore-scripts --no-audit --no-fund --no-progress --loglevel=error
	@touch $@

# What the examples need, for all of them together. No workspace: `make up` need not have it.
$(example_packages): examples/package.json examples/package-lock.json | .make/toolchain
	npm ci --prefix examples --ignore-scripts --no-audit --no-fund --no-progress --loglevel=error
	@touch $@

$(library): $(node_packages) $(core_sources) $(library_sources)
	npm run --silent build --workspace @shm-polyglot/protocol
	@touch $@
