# `make demo` and `make test` are all that is needed on a machine with Python 3.11: both set up .venv first.
# Everything is installed from requirements.lock by hash, with the plain pip that comes with Python.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The first interpreter that is Python 3.11; PYTHON=/path/to/one overrides.
PYTHON ?= $(shell for p in python3.11 python3 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && command -v "$$p" && break; done)

.PHONY: help demo test test-all bench up down lint format lock clean setup

help: ## What can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(READY) ## Set up, fill three years of months, archive them through Prefect, show the result
	@$(BIN)/treasury demo

test: $(READY) ## Set up and run the tests, the slow ones left out
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-all: $(READY) ## Every test, the slow ones too, with all their examples
	@TREASURY_TEST_THOROUGH=1 $(BIN)/python -m pytest -n 2 --dist worksteal

bench: $(READY) ## Every measurement: a table for people and a JSON line each
	@$(BIN)/python -m bench all

up: $(READY) ## Start every server and stay; Ctrl-C stops them
	@exec $(BIN)/treasury up

down: $(READY) ## Stop every server, from another terminal
	@$(BIN)/treasury down

lint: $(READY) ## ruff and mypy
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## Let ruff put the code in order
	@$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(READY) ## Only make .venv

# Plain targets below: redone when the lock or pyproject.toml has changed. The marker is written last, so a set-up that
# was broken off is done again.
$(READY): requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then echo "Python 3.11 was not found; say where it is: make PYTHON=/path/to/python3.11" >&2; exit 1; fi
	echo "setting up $(VENV) with $(PYTHON) (a minute or two, once)"
	[ -x $(BIN)/python ] || $(PYTHON) -m venv --clear $(VENV)
	export PIP_DISABLE_PIP_VERSION_CHECK=1
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $(READY)

lock: ## Choose the versions anew within pyproject.toml's ranges (needs pip-tools: LOCK_WITH=/path/to/pip-compile)
	@$${LOCK_WITH:-pip-compile} --quiet --extra dev --generate-hashes --allow-unsafe --strip-extras \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --output-file requirements.lock pyproject.toml

clean: ## Remove what was set up, made and measured here, the servers' data (.treasury) too
	@if [ -x $(BIN)/treasury ]; then $(BIN)/treasury down; fi
	rm -rf $(VENV) .treasury build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
