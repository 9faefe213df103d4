# `make` lists the targets. Nothing is installed outside this folder, and nothing is built again for nothing.

PYTHON ?= python3
CORES := $(shell nproc 2>/dev/null || echo 2)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup up bench bench-quick bench-setup test lint test-c test-node test-python test-compose model chaos fuzz soak audit clean FORCE

venv := .venv
python := $(venv)/bin/python
# A stamp is written when its step has succeeded, in the folder that the step fills: gone with it.
packages := $(venv)/.packages
dev_packages := $(venv)/.dev-packages
binding := $(venv)/.binding
node_packages := node_modules/.packages
library := shm_protocol/node/dist/.built
peer_packages := bench/peers/node_modules/.packages

core_sources := $(wildcard shm_protocol/core/*.[ch]) shm_protocol/errors.json
binding_sources := pyproject.toml $(wildcard setup.py shm_protocol/python/shm_protocol/_[a-z]*.p*)
library_sources := tsconfig.base.json $(wildcard shm_protocol/node/*.json shm_protocol/node/*.mjs) \
  $(shell find shm_protocol/node/src -type f)
npm_manifests := package.json package-lock.json $(wildcard */package.json */*/package.json)

help:
	@echo 'make up            set everything up, run both sides in the foreground; Ctrl-C ends both'
	@echo 'make test          set everything up, run every test and check'
	@echo 'make bench-quick   measure the main round trips, in under three minutes'
	@echo 'make bench         measure everything: calls, HTTP, cold start, memory'
	@echo 'make bench-setup   install what the bench compares with, as far as it can be had'
	@echo 'make lint          ruff, mypy, tsc, eslint'
	@echo 'make test-c        the C core, plain and under the sanitizers'
	@echo 'make test-node     the TypeScript library and server'
	@echo 'make test-python   the Python library and all that needs both languages'
	@echo 'make test-compose  the containers; needs a Docker engine and Compose'
	@echo 'make model         verify the model of the ring with Spin'
	@echo 'make chaos         kill, stop and restart either side in every way, under verified load; about eleven minutes'
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

bench: setup $(dev_packages)
	@exec $(python) -m bench

bench-quick: setup $(dev_packages)
	@exec $(python) -m bench --quick

# A peer that cannot be had here is no failure: the bench lists it as skipped.
bench-setup: setup $(dev_packages) $(peer_packages)
	@exec $(python) -m bench.setup

test: lint test-c test-node test-python test-compose

lint: setup $(dev_packages) $(peer_packages)
	$(venv)/bin/ruff check .
	$(venv)/bin/ruff format --check .
	$(venv)/bin/mypy
	npm run --silent typecheck
	npm run --silent lint

test-c: .make/toolchain
	$(MAKE) -C shm_protocol/core test

test-node: setup
	npm run --silent test

test-python: setup $(dev_packages)
	$(python) -m pytest --numprocesses=$(CORES) --ignore=tests/test_compose.py

# After the rest: it is the slowest, and it builds what the rest has found sound.
test-compose: setup $(dev_packages)
	$(python) -m pytest -rs tests/test_compose.py

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
	rm -rf .venv .make node_modules bench/peers/node_modules
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

$(binding): $(packages) $(core_sources) $(binding_sources)
	$(python) -m pip install --quiet --no-build-isolation --no-deps --editable .
	@touch $@

# After the binding, because two pips in one environment get in each other's way under `make -j`.
$(dev_packages): requirements-dev.lock $(packages) | $(binding)
	$(python) -m pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

$(node_packages): $(npm_manifests) | .make/toolchain
	npm ci --no-audit --no-fund --no-progress --no-update-notifier --loglevel=error
	@touch $@

# The types of the peers that are called from TypeScript. Nothing of theirs is run.
$(peer_packages): bench/peers/package.json bench/peers/package-lock.json | .make/toolchain
	npm ci --prefix bench/peers --ignore-scripts --no-audit --no-fund --no-progress --loglevel=error
	@touch $@

$(library): $(node_packages) $(core_sources) $(library_sources)
	npm run --silent build --workspace @shm-polyglot/protocol
	@touch $@
