# `make help` lists the commands. Everything runs in .venv, made from the pins of requirements.txt.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
RUN := $(VENV)/bin
CORES ?= all
STAMP := $(VENV)/installed
DOCS_STAMP := $(VENV)/installed-docs
SLURM_STAMP := $(VENV)/installed-slurm
export PATH := $(abspath $(RUN)):$(PATH)
# With our display of progress (workflow/plugins); without it Snakemake's own output says the same at length.
SNAKEMAKE := PYTHONPATH=$(CURDIR)/workflow/plugins snakemake --logger progress

.PHONY: help demo smoke test test-all lint docs bench install lock clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP) ## Make .venv with the locked requirements

$(STAMP): requirements.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; install Python 3.11 with its venv module, or run make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "error: PYTHON=$(PYTHON) is not Python 3.11; run make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --disable-pip-version-check --progress-bar off -r requirements.txt
	@touch $(STAMP)

$(DOCS_STAMP): $(STAMP) docs/requirements.txt
	pip install --disable-pip-version-check --progress-bar off -c requirements.txt -r docs/requirements.txt
	@touch $@

$(SLURM_STAMP): $(STAMP) profiles/slurm/requirements.txt
	pip install --disable-pip-version-check --progress-bar off -c requirements.txt -r profiles/slurm/requirements.txt
	@touch $@

demo: $(STAMP) ## Every table and figure of the paper on embedded data (the default config)
	$(SNAKEMAKE) --cores $(CORES) --configfile config/demo.yaml
	snakemake --configfile config/demo.yaml --report results/demo/report.html
	@python -m workflow.summary results/demo

smoke: $(STAMP) ## The same, everything tiny: does it run?
	$(SNAKEMAKE) --cores $(CORES) --configfile config/smoke.yaml
	snakemake --configfile config/smoke.yaml --report results/smoke/report.html
	@python -m workflow.summary results/smoke

lint: $(STAMP) ## Style, types and workflow lint
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile workflow/rules
	snakemake --lint

# One thread per test worker: more would fight over two cores. A file stays with one worker, which makes its fixtures
# once. A test that ends its worker, as one that hangs does, is not tried again. The workflow takes both cores by itself.
QUICK := OMP_NUM_THREADS=1 pytest -n 2 --dist loadfile --max-worker-restart 0 -o faulthandler_timeout=900 \
	tests/contract tests/unit
WORKFLOW := pytest tests/e2e

test: lint docs ## Lint, documentation, then contract, unit and end-to-end tests
	$(QUICK) -m "not long"
	$(WORKFLOW) -m "not long"

test-all: lint docs $(SLURM_STAMP) ## The same with the long proofs
	$(QUICK)
	$(WORKFLOW)

docs: $(DOCS_STAMP) ## The documentation as a site in .cache/site; a warning or a broken link fails
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

bench: $(STAMP) ## Speed, as ratios on this machine
	OMP_WAIT_POLICY=PASSIVE python -m tests.bench

lock: ## Pin anew what the packages named in requirements.txt bring
	rm -rf .cache/lock
	$(PYTHON) -m venv .cache/lock
	sed '/^# Brought by/q' requirements.txt > .cache/lock/kept.txt
	.cache/lock/bin/pip install --disable-pip-version-check --progress-bar off -r .cache/lock/kept.txt
	.cache/lock/bin/pip freeze --all --exclude pip -r .cache/lock/kept.txt | sed '1,/^## The following/d' \
		| grep -vE '^(nvidia|cuda|triton)[a-z0-9_-]*==' | sed -E 's/\+.*//' > .cache/lock/brought.txt
	cat .cache/lock/kept.txt .cache/lock/brought.txt > requirements.txt
	rm -rf .cache/lock
	$(MAKE) --always-make environment.yml

environment.yml: requirements.txt
	{ sed '/- pip:$$/q' $@; sed -nE 's/^([^# ]+).*/      - \1/p' $<; } > $@.new
	mv $@.new $@

clean: ## Remove the environment and caches; results, and Snakemake's records of them, stay
	rm -rf $(VENV) .cache .hypothesis .pytest_cache .mypy_cache .ruff_cache
