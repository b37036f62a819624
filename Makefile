# make lab [PORT=8888] [BROWSER=no]    set up, check the machine, open JupyterLab on the first notebook
# make lab TORCH=cpu                   the same with the CPU build of torch, a tenth of the size on Linux
# make check                           lint, types and the quick tests: two minutes, after every small change
# make test                            everything: all tests, the notebooks, the explorers in a real browser
# make notebooks                       run the notebooks and store their key numbers and static pictures
# make reference                       write the pages of the public names from their docstrings, into reference/
# make site                            build the site into site/: course, live figures, pages, results, reference
# make test-oldest, make test-newest   the quick tests with the oldest versions that are allowed, and with the newest
# Everything is installed into .venv, with the versions in constraints.txt, by uv where it is there and else by pip.
# PYTHON= chooses the interpreter.

PYTHON ?= python3
PORT ?= 8888
BROWSER ?= yes

BIN := .venv/bin
# Files whose tests are slow come first (tests/conftest.py), so that no core waits for them in the end.
WORKERS := --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder
# What is imported is compiled then: pip would compile fifteen thousand files.
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt

# uv, where it is there or needed: only uv knows where a build of torch lies, and how to choose the oldest versions.
UV := $(or $(shell which uv 2>/dev/null),$(if $(TORCH)$(filter test-%,$(MAKECMDGOALS)),$(BIN)/uv))
UV_INSTALL = $(UV) pip install --quiet $(if $(TORCH),--torch-backend=$(TORCH)) --python
INSTALL = $(if $(UV),$(UV_INSTALL) $(BIN)/python --constraint constraints.txt,$(PIP))
OWN_UV := $(filter $(BIN)/uv,$(UV))

.PHONY: lab check lint test run-browser run-notebooks test-oldest test-newest notebooks reference site clean

lab: .venv/installed
	@$(BIN)/lliptools lab . --port $(PORT) $(if $(filter no,$(BROWSER)),--no-browser)

check: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -m 'not browser and not slow' $(WORKERS)

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Two processes share the cores already, and the networks of the tests are small. The browser waits half of its time, and
# the notebooks run meanwhile. A test in the browser that fails is run once more, for the machine may have been slow; then
# a line in capitals says so.
test: export OMP_NUM_THREADS := 1
test: lint
	@sh tools/ensure_chromium.sh
	$(BIN)/pytest -m 'not browser' $(WORKERS)
	@$(MAKE) --no-print-directory --jobs=2 run-browser run-notebooks

run-browser:
	$(BIN)/pytest -m browser --reruns=1 -rR --numprocesses=auto --maxprocesses=2 --dist=loadfile

run-notebooks:
	$(BIN)/pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=300 --override-ini filterwarnings=default notebooks

test-oldest: RESOLUTION := lowest-direct
test-newest: RESOLUTION := highest
test-oldest test-newest: .venv/python $(OWN_UV)
	@$(UV) venv --quiet --clear --python $(BIN)/python .venv/$@
	@$(UV_INSTALL) .venv/$@/bin/python --resolution $(RESOLUTION) --editable '.[test]'
	@$(UV) pip freeze --quiet --python .venv/$@/bin/python | grep -E '^(torch|numpy|scipy|plotly|ipywidgets|typer)='
	OMP_NUM_THREADS=1 .venv/$@/bin/python -m pytest --override-ini filterwarnings=default \
		-m 'not browser and not slow' $(WORKERS)

notebooks: .venv/installed-test
	@sh tools/ensure_chromium.sh
	$(BIN)/python tools/store_notebooks.py

reference: .venv/installed-test
	$(BIN)/pdoc lliptools --output-directory reference

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lliptools needs Python 3.11 or newer, found " + sys.version.split()[0] + "; name one: make lab PYTHON=python3.12")'
	@echo "making .venv and installing lliptools: a minute or two the first time"
	@$(PYTHON) -m venv .venv
	@touch $@

$(BIN)/uv: .venv/python
	@$(PIP) uv

.venv/installed: .venv/python $(OWN_UV) pyproject.toml constraints.txt
	@$(INSTALL) --editable '.[lab]'
	@touch $@

.venv/installed-test: .venv/python $(OWN_UV) pyproject.toml constraints.txt
	@$(INSTALL) --editable '.[test]'
	@touch .venv/installed $@

site: .venv/installed-test
	$(BIN)/python tools/build_site.py site

clean:
	rm -rf .venv artefacts reference site .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
