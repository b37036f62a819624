# make lab [PORT=8888] [BROWSER=no]    set up, check the machine, open JupyterLab on the first notebook
# make test                            set up with the test tools, then every check
# make notebooks                       run the notebooks and store their key numbers and static pictures
# Everything is installed into .venv, with the versions in constraints.txt. PYTHON= chooses the interpreter.

PYTHON ?= python3
PORT ?= 8888
BROWSER ?= yes

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# A container's only user is often root, whom JupyterLab serves only when told to.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: lab test notebooks clean

lab: .venv/installed
	@$(BIN)/lliptools doctor
	@$(BIN)/jupyter-lab notebooks/00_start.ipynb --port=$(PORT) $(AS_ROOT) $(if $(filter no,$(BROWSER)),--no-browser)

# Two processes share the cores already, and the networks of the tests are small.
test: export OMP_NUM_THREADS := 1
test: .venv/installed-test
	@sh tools/ensure_chromium.sh
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -m 'not browser' --numprocesses=auto --maxprocesses=4 --dist=loadfile
	$(BIN)/pytest -m browser --numprocesses=auto --maxprocesses=2 --dist=loadfile
	$(BIN)/pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=120 --override-ini filterwarnings=default \
		--numprocesses=auto --maxprocesses=4 --dist=loadfile notebooks

notebooks: .venv/installed-test
	@sh tools/ensure_chromium.sh
	$(BIN)/python tools/store_notebooks.py

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lliptools needs Python 3.11 or newer, found " + sys.version.split()[0] + "; name one: make lab PYTHON=python3.12")'
	@echo "making .venv and installing lliptools: a minute or two the first time"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/installed: .venv/python pyproject.toml constraints.txt
	@$(PIP) --editable .
	@touch $@

.venv/installed-test: .venv/python pyproject.toml constraints.txt
	@$(PIP) --editable '.[test]'
	@touch .venv/installed $@

clean:
	rm -rf .venv artefacts .mypy_cache .pytest_cache .ruff_cache .hypothesis
