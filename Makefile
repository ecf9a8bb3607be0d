# `make demo` and `make test` are all that is needed on a machine with Python 3.11 to 3.14: both set up .venv first.
# Everything is installed from requirements.lock by hash, with the plain pip that comes with Python.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The newest CPython that the lock is made for and that can make an environment (Debian ships Python without ensurepip);
# PYTHON=/path/to/one overrides. No package has wheels for the build without the GIL in the lock.
SUITABLE := import ensurepip, sys, sysconfig, venv; \
	good = (3, 11) <= sys.version_info < (3, 15) and sys.implementation.name == "cpython"; \
	sys.exit(not good or bool(sysconfig.get_config_var("Py_GIL_DISABLED")))
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3 python; do \
	"$$p" -c '$(SUITABLE)' 2>/dev/null && command -v "$$p" && break; done)

# Tests wait for servers about half of their time: on two cores three workers are faster than two.
WORKERS ?= 3

# Every worker, and every process that a test starts, would compile the whole project again.
unexport PYTHONDONTWRITEBYTECODE

# One file for every Python: markers say which line is for which, and no registry is named.
UV ?= uv
LOCK = $(UV) pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes \
	--custom-compile-command "make lock" --output-file requirements.lock pyproject.toml

# What `make test` leaves out: slow tests, and heavy ones, whose promise a quicker test watches (tests/sampling.py) or
# whose file costs too much (tests/costs.py).
MARKS ?= not slow and not heavy
# Schemathesis' tests are all heavy or slow. Its plugin alone costs every worker seconds.
WITHOUT = $(if $(findstring not heavy,$(MARKS)),-p no:schemathesis)
# Further options of pytest.
OPTIONS ?=

TARGETS := help demo test test-all test-browser costs bench up down lint format lock upgrade clean setup
.PHONY: $(TARGETS)

# Words after `bench` are measurements, unless they are targets. A wrong one must end it before anything is measured.
ifeq ($(firstword $(MAKECMDGOALS)),bench)
MEASUREMENTS := $(filter-out $(TARGETS),$(MAKECMDGOALS))
.PHONY: $(MEASUREMENTS)
$(MEASUREMENTS): bench
	@:
endif

help: ## What can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(READY) ## Set up, fill three years of months, archive them through Prefect, show the result
	@$(BIN)/treasury demo

test: $(READY) ## Set up and run the tests, the slow and the heavy ones left out; TESTS="tests/sql ..." names folders
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(WITHOUT) -m "$(MARKS)" $(OPTIONS) $(TESTS)

test-all: $(READY) ## Every test, the slow ones too, with all their examples and the floor of the coverage
	@TREASURY_TEST_THOROUGH=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov --cov-report=json

costs: export TREASURY_TEST_COSTS = tests/costs.json
costs: $(READY) ## Measure what each test costs, on a machine that does nothing else; `make test` chooses by it
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow"

test-browser: $(READY) ## The ways of people through /docs, the dashboard and the Prefect UI, in a real Chromium, which must be installed
	@CI=true $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m slow $(OPTIONS) tests/api/documentation/test_page.py tests/api/dashboard tests/flows/test_prefect_in_browser.py

bench: $(READY) ## Every measurement, or those that are named after it: a table for people and a JSON line each
	@$(BIN)/python -m bench $(or $(MEASUREMENTS),all)

up: $(READY) ## Start every server and stay; Ctrl-C stops them
	@exec $(BIN)/treasury up

down: $(READY) ## Stop every server, from another terminal
	@$(BIN)/treasury down

lint: $(READY) ## ruff, mypy, the contract of the layers, spelling
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

format: $(READY) ## Let ruff put the code in order
	@$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(READY) ## Only make .venv

# Plain targets below: redone when the lock or pyproject.toml has changed. The marker is written last, so a set-up that
# was broken off is done again.
$(READY): requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then
		echo "No CPython 3.11 to 3.14 with venv and ensurepip was found; name one: make PYTHON=/path/to/python3" >&2
		exit 1
	fi
	echo "setting up $(VENV) with $(PYTHON) (a minute or two, once)"
	[ -x $(BIN)/python ] || $(PYTHON) -m venv --clear $(VENV)
	export PIP_DISABLE_PIP_VERSION_CHECK=1
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $(READY)

lock: ## Write requirements.lock for what pyproject.toml asks; versions that still fit stay (needs uv: UV=/path/to/uv)
	@$(LOCK)

upgrade: ## The same with the newest versions that fit (needs uv)
	@$(LOCK) --upgrade

clean: ## Remove what was set up, made and measured here, the servers' data (.treasury) too
	@if [ -x $(BIN)/treasury ]; then $(BIN)/treasury down; fi
	rm -rf $(VENV) .treasury build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
