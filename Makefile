# Every arrow of the flow is a file and a rule:
#   preset -> extraction (data/cache) -> tables (data/results) -> figures (figures)
# Only python3 (3.11-3.13) and make are needed; `make help` lists the targets.

PRESET     ?= offline
PARAMETERS ?=
PYTHON     ?= python3
SHELL      := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := help

# One thread per process: two on the small batches of this code are many times slower than one.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE
export TOKENIZERS_PARALLELISM := false
export PYTHONPATH := $(CURDIR)
export PYTHONHASHSEED := 0
export SOURCE_DATE_EPOCH := 0
ifneq ($(PRESET),paper)
export HF_HUB_OFFLINE := 1
endif

# ---- the environment: an active one that has what pyproject.toml asks for, else .venv made from requirements.lock

ACTIVE := $(firstword $(VIRTUAL_ENV) $(CONDA_PREFIX))
define HAS_ALL
import importlib.metadata as m, re, sys, tomllib
p = tomllib.load(open("pyproject.toml", "rb"))["project"]
need = [re.split("([<>=!~])", r, maxsplit=1) for r in p["dependencies"] + p["optional-dependencies"]["test"]]
have = {d.name.lower().replace("_", "-"): d.version.split("+")[0] for d in m.distributions() if d.name}
sys.exit(any(n[0] not in have or ("".join(n[1:]).startswith("==") and "".join(n[1:])[2:] != have[n[0]]) for n in need))
endef
export HAS_ALL
ifneq ($(ACTIVE),)
ifeq ($(shell "$(ACTIVE)/bin/python" -c "$$HAS_ALL" 2>/dev/null && echo yes),yes)
BIN := $(ACTIVE)/bin
READY :=
endif
endif
ifndef BIN
BIN := .venv/bin
READY := .venv/.ready
endif
PY := $(BIN)/python

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 14) else f"pidlib needs Python 3.11, 3.12 or 3.13; \
	$(PYTHON) is {v[0]}.{v[1]}. Name another: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --progress-bar on -r requirements.lock
	.venv/bin/python -m pip install --quiet --no-deps --editable .
	@touch $@
	@echo "wrote .venv ($$(.venv/bin/python --version), $$(grep -c == requirements.lock) packages)"

# ---- the flow

NOTEBOOKS := $(sort $(wildcard notebooks/*/*.ipynb))
SOURCES   := $(shell find pidlib -name '*.py' -o -name '*.mplstyle') pidlib/presets/$(PRESET).yaml
RUNS      := build/$(PRESET)/notebooks
EXECUTED  := $(NOTEBOOKS:notebooks/%=$(RUNS)/%)

.PHONY: help paper test figures bench lab clean clean-cache extract lint setup
help: ## this list
	@echo "make [PRESET=smoke|offline|paper] [PARAMETERS='-p seed 1'] TARGET"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 15

setup: $(READY) ## make the environment, nothing else

paper: $(EXECUTED) ## set up, then every table and figure of the preset
	@echo "wrote $(words $(EXECUTED)) notebooks to $(RUNS), with their tables and figures (preset $(PRESET))"

# The notebook runs under another name until it is done, so that a failed run stays to be read and is not taken for a finished one.
$(RUNS)/%.ipynb: notebooks/%.ipynb $(SOURCES) | $(READY)
	@mkdir -p $(@D)
	$(PY) -m papermill $< $(@:.ipynb=.part.ipynb) -p preset $(PRESET) $(PARAMETERS) --cwd $(CURDIR)
	@mv $(@:.ipynb=.part.ipynb) $@
	@echo "wrote $@"

extract: $(READY) ## only the first step: run the models, keep what they answer in the cache
	$(PY) -m pidlib.runs --preset $(PRESET)

figures: $(READY) ## only the last step: redraw every figure from the committed tables
	$(PY) -m pidlib.figures

bench: $(READY) ## time the solver against its peers
	rm -f $(RUNS)/validation/fig_solver.ipynb
	@$(MAKE) --no-print-directory $(RUNS)/validation/fig_solver.ipynb

test: $(READY) ## set up, then run the tests
	$(PY) -m pytest

lint: $(READY) ## style of code and notebooks
	$(BIN)/ruff check pidlib tests
	$(BIN)/nbstripout --verify $(NOTEBOOKS)

lab: $(READY) ## open JupyterLab on the notebooks
	$(BIN)/jupyter lab notebooks

clean: ## remove what make wrote, except .venv, the cache of extractions and the results of the paper preset
	rm -rf build/smoke build/offline tests/runs .pytest_cache .ruff_cache .hypothesis

clean-cache: clean ## forget also what the models answered
	rm -rf data/cache
