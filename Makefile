# Everything sets itself up in .venv; nothing is installed outside this folder.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help install browser demo test test-slow lint bench clean

help:  ## list what can be made
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/'

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "wordframe needs Python 3.11 or newer; say make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo,dev]'
	touch $(READY)

install: $(READY)  ## set up .venv with wordframe, the demo's pictures and the test tools

browser:  ## Chromium for the tests of the page; Debian's, where this may install it
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null; \
	else \
	  echo "no Chromium found: the tests of the page will be skipped (on Debian, as root: apt-get install chromium)"; \
	fi

demo: $(READY)  ## index real pictures and footage, search them, show the results
	$(BIN)/python demo/run.py

test: $(READY) browser  ## the tests (minutes)
	$(BIN)/python -m pytest

test-slow: $(READY) browser  ## the long tests as well
	$(BIN)/python -m pytest -m slow

lint: $(READY)  ## format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(READY)  ## measured comparisons into benchmarks/results, over an hour (CLIPS=folder with captions.json, ANNOTATIONS=folder for all)
	$(BIN)/python benchmarks/run_all.py $(if $(CLIPS),--clips $(CLIPS)) $(if $(ANNOTATIONS),--annotations $(ANNOTATIONS)) $(if $(ONLY),--only $(ONLY))

clean:  ## remove the virtual environment and the caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build
