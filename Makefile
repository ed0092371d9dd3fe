# Two commands do everything on a fresh machine: `make demo` and `make test`.
# PYTHON picks the interpreter (3.11 to 3.13); everything else lands in .venv and .slmesh.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Nothing here needs a model hub: weights come from the package index, verified by digest.
export HF_HUB_OFFLINE ?= 1
export RAY_USAGE_STATS_ENABLED ?= 0

.DEFAULT_GOAL := help
.PHONY: help demo test check up down protos clean install models

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: install ## Set up, start the mesh, route real messages, print the table, stop
	@$(BIN)/slmesh demo

# tests that start Ray fail, kill and hang processes: alone on the machine; the others on all its cores
test: install models ## Set up, then run every test
	@failed=0; \
	$(BIN)/python -m pytest -m ray || failed=1; \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m 'not ray' || failed=1; \
	exit $$failed

up: install ## Start the mesh and keep it serving; Ctrl-C stops it
	@$(BIN)/slmesh up

down: ## Stop a mesh that was left running
	@$(BIN)/slmesh down

check: install ## Types, style and contract rules
	@$(BIN)/ruff check services tests protos
	@$(BIN)/ruff format --check services tests protos
	@$(BIN)/mypy
	@$(BIN)/buf lint protos

protos: install ## Generate the Python code of the contracts
	@$(BIN)/python protos/generate.py

models: install
	@$(BIN)/slmesh models compile

clean: down ## Delete what slmesh wrote: .slmesh (caches, logs, run files)
	@rm -rf .slmesh

install: $(STAMP)

$(STAMP): pyproject.toml
	@echo "Setting up $(VENV) (a few minutes the first time) ..."
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else \
	  f"Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "venv failed: install your system's python3-venv package"; exit 1; }
	@$(BIN)/python -m pip install --disable-pip-version-check -q --upgrade pip
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -q \
	  -e '.[mesh,reasoner,train,dev]' || \
	  { echo "pip failed: its message stands above; 'make' again goes on from here"; exit 1; }
	@touch $@
	@echo "Set up: $(VENV)"
