# make demo   the three commands on a shipped topology
# make test   style, types, layers and tests, as in CI
# make bench  the table of docs/performance.md, measured here (OpenSM needs ten minutes of it)
# Each makes .venv itself, again when pyproject.toml changes.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

TOPOLOGY := topologies/dgx1-16.yaml
JOB := topologies/jobs/dgx1-16.yaml

.PHONY: demo test lint bench completions clean

demo: .venv/run.stamp
	$(BIN)/fabctl discover $(TOPOLOGY)
	$(BIN)/fabctl route $(TOPOLOGY) --engine ftree
	$(BIN)/fabctl bench $(TOPOLOGY) --job $(JOB) --engine minhop,ftree

test: lint
	$(BIN)/pytest --numprocesses 2 --dist worksteal

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/run.stamp
	$(BIN)/python benchmarks/run.py

completions: .venv/run.stamp
	_FABCTL_COMPLETE=bash_source $(BIN)/fabctl > completions/fabctl.bash
	_FABCTL_COMPLETE=zsh_source $(BIN)/fabctl > completions/_fabctl
	_FABCTL_COMPLETE=fish_source $(BIN)/fabctl > completions/fabctl.fish

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

.venv/run.stamp: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fabctl needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(PIP) install 'pip>=25.1'
	$(PIP) install --editable .
	touch $@

.venv/dev.stamp: .venv/run.stamp
	$(PIP) install --group dev
	touch $@
