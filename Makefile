# Every arrow of the flow is a file and a rule:
#   preset -> extraction (data/cache) -> tables (data/results) -> figures (figures)
# Only python3 (3.11-3.13) and make are needed; `make help` lists the targets.

# A run that is asked for by its path, build/smoke/notebooks/..., is one of that preset.
KNOWN      := $(patsubst pidlib/presets/%.yaml,%,$(wildcard pidlib/presets/*.yaml))
PRESET     ?= $(or $(firstword $(filter $(KNOWN),$(subst /, ,$(filter build/%,$(MAKECMDGOALS))))),offline)
$(if $(filter $(PRESET),$(KNOWN)),,$(error unknown preset '$(PRESET)'; there are $(KNOWN)))
PARAMETERS ?=
JOBS       ?= $(if $(filter paper,$(PRESET)),1,2)
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
export PYTHONWARNINGS ?= ignore:IProgress not found
ifneq ($(PRESET),paper)
export HF_HUB_OFFLINE := 1
endif

# ---- the environment: an active one that has what pyproject.toml asks for, else .venv made from requirements.lock

ACTIVE := $(or $(VIRTUAL_ENV),$(CONDA_PREFIX))
ifneq ($(ACTIVE),)
ifeq ($(shell "$(ACTIVE)/bin/python" .ci/ready.py 2>/dev/null && echo yes),yes)
BIN := $(ACTIVE)/bin
READY :=
endif
endif
ifndef BIN
BIN := .venv/bin
READY := .venv/.ready
endif
PY := "$(BIN)/python"

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 14) else f"pidlib needs Python 3.11, 3.12 or 3.13; \
	$(PYTHON) is {v[0]}.{v[1]}. Name another: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -r requirements.lock
	.venv/bin/python -m pip install --quiet --no-deps --editable .
	@touch $@
	@echo "wrote .venv ($$(.venv/bin/python --version), $$(grep -c == requirements.lock) packages)"

# ---- the flow

NOTEBOOKS := $(sort $(wildcard notebooks/*/*.ipynb))
SOURCES   := $(shell find pidlib -name '*.py' -o -name '*.mplstyle') pidlib/presets/$(PRESET).yaml
BUILD     := build/$(PRESET)
# Runs with an output of their own are kept there, beside what they write, and leave those of the preset alone.
OUTPUT    := $(shell sed -nE 's/.*-p +output +([^ ]+).*/\1/p' <<< '$(PARAMETERS)')
PLACE     := $(or $(OUTPUT),$(BUILD))
RUNS      := $(PLACE)/notebooks
EXECUTED  := $(NOTEBOOKS:notebooks/%=$(RUNS)/%)
# With other parameters the notebooks ask for other answers, each for those it needs.
ASKED     := $(if $(strip $(PARAMETERS)),,$(BUILD)/extracted)


.PHONY: FORCE help paper notebooks minis outcomes test figures bench lab clean clean-cache extract lint setup
help: ## this list
	@echo "make [PRESET=smoke|offline|paper] [PARAMETERS='-p seed 1 -p output build/seed1'] TARGET"
	@echo "seed and output belong to all notebooks; other parameters to single ones, which are targets too:"
	@echo "make build/tau0/notebooks/vision_language/fig_profiles.ipynb PARAMETERS='-p tau 0 -p output build/tau0'"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 15

setup: $(READY) ## make the environment, nothing else

paper: $(READY) ## set up, then every table and figure of the preset, JOBS at a time
	@$(MAKE) --no-print-directory --jobs $(JOBS) notebooks

notebooks: $(ASKED) $(EXECUTED)
	@echo "wrote $(words $(EXECUTED)) notebooks to $(RUNS), with their tables and figures (preset $(PRESET))"

# The notebook runs under another name until it is done, so that a failed run stays to be read and is not taken for a finished one.
$(RUNS)/%.ipynb: notebooks/%.ipynb $(SOURCES) $(PLACE)/parameters | $(READY)
	@mkdir -p $(@D)
	@echo "running $< (what is not in the cache yet is asked of the models first, which takes minutes)"
	$(PY) -m papermill $< $(@:.ipynb=.part.ipynb) -p preset $(PRESET) $(PARAMETERS) --cwd $(CURDIR)
	@mv $(@:.ipynb=.part.ipynb) $@
	@echo "wrote $@"

# Any other path of a run is a misspelt one, or lies elsewhere than its output.
build/%.ipynb: FORCE
	@echo "$@ is no run of a notebook: it is notebooks/EXPERIMENT/NAME.ipynb that runs as $(RUNS)/EXPERIMENT/NAME.ipynb," \
	"in the folder that '-p output' names" >&2; exit 2

# Other parameters make a finished run stale.
$(PLACE)/parameters: FORCE
	@mkdir -p $(@D); printf '%s\n' "$(PARAMETERS)" | cmp -s - $@ || printf '%s\n' "$(PARAMETERS)" > $@
FORCE:

# What is in the cache stays there; the stamp only says that it was looked through since the code last changed.
$(BUILD)/extracted: $(SOURCES) | $(READY)
	$(PY) -m pidlib.answers --preset $(PRESET) --jobs $(JOBS)
	@mkdir -p $(@D) && touch $@
$(filter-out $(RUNS)/validation/%,$(EXECUTED)) $(RUNS)/validation/fig_recovery.ipynb: | $(ASKED)

extract: $(BUILD)/extracted ## only the first step: run the models, keep what they answer in the cache

figures: $(READY) ## only the last step: redraw every figure from the committed tables
	$(PY) -m pidlib.figures --preset $(PRESET)

bench: $(READY) ## time the solver against its peers
	rm -f $(RUNS)/validation/fig_solver.ipynb
	@$(MAKE) --no-print-directory $(RUNS)/validation/fig_solver.ipynb

outcomes: $(READY) ## train all seeds of the reweighting experiment anew and write the committed outcomes: about an hour
	$(PY) -m pidlib.outcomes --preset $(PRESET) --jobs $(JOBS) --anew

minis: $(READY) ## train the mini models anew: hours
	$(PY) -m pidlib.models.minis train

test: $(READY) ## set up, then run the tests
	$(PY) -m pytest

lint: $(READY) ## style of code and notebooks
	$(PY) -m ruff check pidlib tests
	$(PY) -m nbstripout --verify $(NOTEBOOKS)

lab: $(READY) ## open JupyterLab on the notebooks
	$(PY) -m jupyterlab notebooks

clean: ## remove what make wrote, except .venv, the cache of extractions and the results of the paper preset
	rm -rf build/smoke build/offline tests/runs .pytest_cache .ruff_cache .hypothesis

clean-cache: clean ## forget also what the models answered
	rm -rf data/cache
