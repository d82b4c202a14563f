# Canonical commands. `make reproduce-all` and `make test` set themselves up.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PROFILE ?= $(shell $(BIN)/harness doctor --default-profile)
export MPLBACKEND := Agg

.DEFAULT_GOAL := help
.PHONY: help setup reproduce-all test test-slow test-statistics lint bench readme regress report clean

help:            ## This list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*##/\t/' | expand -t 18

setup: $(STAMP)  ## Create or update .venv from constraints.txt

# The stamp is written last: an interrupted installation is taken up again by the next make.
$(STAMP): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=..." >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

reproduce-all: $(STAMP)  ## Every suite, every claim, one report. PROFILE=smoke|cpu|gpu|paper
	$(BIN)/harness run all profile=$(PROFILE)
	$(BIN)/harness report profile=$(PROFILE)

# Two processes, whatever the machine has: a file's tests stay together, and many start processes of their own.
test: lint       ## Lint, types, unit, contract and end-to-end smoke tests
	$(BIN)/python -m pytest -m 'not slow and not statistics' -n 2 --dist loadfile

test-slow: $(STAMP)      ## The tests that `make test` leaves out
	$(BIN)/python -m pytest -m 'slow and not statistics'

test-statistics: $(STAMP)  ## Simulated coverage of every statistical rule; writes results/reference/statistics
	$(BIN)/python -m pytest -m statistics

lint: $(STAMP)   ## Style and types
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(STAMP)  ## Speed of operators and of the harness itself, as ratios within one run
	$(BIN)/python -m pytest tests/benchmarks --benchmark-enable -o python_files='bench_*.py'

readme: $(STAMP)   ## The ledger in README.md, from the committed reference
	$(BIN)/python -m harness.report.readme

regress: $(STAMP)  ## Run the committed reference's sentinels; fails on a regression
	$(BIN)/harness regress profile=$(PROFILE)

report: $(STAMP)  ## The report from what has been run
	$(BIN)/harness report profile=$(PROFILE)

clean: $(STAMP)  ## Remove scratch folders; records stay
	$(BIN)/harness clean
