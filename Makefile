# `make help` lists the commands. Everything runs in .venv, made from the locks of requirements/.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
RUN := $(VENV)/bin
CORES ?= all
STAMP := $(VENV)/installed
DEVELOP_STAMP := $(VENV)/installed-develop
SLURM_STAMP := $(VENV)/installed-slurm
GPU_VENV := .venv-gpu
GPU_STAMP := $(GPU_VENV)/installed
export PATH := $(abspath $(RUN)):$(PATH)
# With our display of progress (workflow/plugins); without it Snakemake's own output says the same at length.
SNAKEMAKE := PYTHONPATH=$(CURDIR)/workflow/plugins snakemake --logger progress

.PHONY: help demo smoke test test-all test-gpu-rehearsal lint docs bench install lock clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

install: $(STAMP) ## Make .venv with the locked packages, hashes checked

LOCKS := $(addprefix requirements/,install.sh build.txt run.txt torch.txt)
define need-python
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; install Python 3.11 with its venv module, or run make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "error: PYTHON=$(PYTHON) is not Python 3.11; run make PYTHON=/path/to/python3.11"; exit 1; }
endef
$(STAMP): $(LOCKS)
	$(need-python)
	@$(PYTHON) -m venv $(VENV)
	@bash requirements/install.sh $(RUN)/python
	@touch $(STAMP)

$(GPU_STAMP): $(LOCKS) requirements/develop.txt
	$(need-python)
	@$(PYTHON) -m venv $(GPU_VENV)
	@bash requirements/install.sh $(GPU_VENV)/bin/python --cuda develop
	@touch $(GPU_STAMP)

$(DEVELOP_STAMP) $(SLURM_STAMP): $(VENV)/installed-%: $(STAMP) requirements/%.txt
	@bash requirements/install.sh $(RUN)/python $*
	@touch $@

demo: $(STAMP) ## Every table and figure of the paper on embedded data (the default config)
	$(SNAKEMAKE) --cores $(CORES) --configfile config/demo.yaml
	$(SNAKEMAKE) --configfile config/demo.yaml --report results/demo/report.html
	@python -m workflow.summary results/demo

smoke: $(STAMP) ## The same, everything tiny: does it run?
	$(SNAKEMAKE) --cores $(CORES) --configfile config/smoke.yaml
	$(SNAKEMAKE) --configfile config/smoke.yaml --report results/smoke/report.html
	@python -m workflow.summary results/smoke

lint: $(DEVELOP_STAMP) ## Style, types and workflow lint
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile workflow/rules
	snakemake --lint

# Two workers on two cores. A file stays with one worker, which makes its fixtures once. A test that ends its worker, as
# one that hangs does, is not tried again.
WORKERS := -n 2 --dist loadfile --max-worker-restart 0
# One thread for each: more would fight over two cores.
QUICK := OMP_NUM_THREADS=1 pytest $(WORKERS) -o faulthandler_timeout=900 tests/contract tests/unit
# The workers share one whole run of the workflow; most of what is tried on it after that takes a single core. Files come
# in the order of tests/e2e/conftest.py. The long proofs come one after the other: they wait for moments in trainings.
WORKFLOW := pytest tests/e2e

test: lint docs ## Lint, documentation, then contract, unit and end-to-end tests
	$(QUICK) -m "not long"
	$(WORKFLOW) $(WORKERS) --no-loadscope-reorder -m "not long"

test-all: lint docs $(SLURM_STAMP) ## The same with the long proofs and the rehearsal
	$(QUICK)
	$(WORKFLOW)
	$(MAKE) test-gpu-rehearsal

# By its own environment: torch's build with CUDA cannot stand beside another, and takes 6 GB.
test-gpu-rehearsal: $(GPU_STAMP) ## Trainings on a GPU that is not there; needs a C compiler
	OMP_NUM_THREADS=1 $(GPU_VENV)/bin/python -m pytest tests/gpu_rehearsal

docs: $(DEVELOP_STAMP) ## The documentation as a site in .cache/site; a warning or a broken link fails
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

bench: $(DEVELOP_STAMP) ## Speed, as ratios on this machine
	OMP_WAIT_POLICY=PASSIVE python -m tests.bench

lock: ## Pin anew, with hashes, what the lists in requirements/ bring (UPGRADE=--upgrade: the newest that fits)
	$(PYTHON) -m venv .cache/lock
	.cache/lock/bin/pip install --disable-pip-version-check --quiet uv==0.13.9
	bash requirements/lock.sh $(CURDIR)/.cache/lock/bin/uv $(UPGRADE)
	rm -rf .cache/lock

clean: ## Remove the environments and caches; results, and Snakemake's records of them, stay
	rm -rf $(VENV) $(GPU_VENV) .cache .hypothesis .pytest_cache .mypy_cache .ruff_cache
