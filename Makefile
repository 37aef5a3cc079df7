# The few words of this project. `make` alone lists them.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile

.PHONY: help install demo test test-all chaos fuzz lint docs bench bench-peers clean

help:  ## list the words
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## make .venv, with every extra and the development tools

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Piped needs Python 3.11 or later: install it, or say make PYTHON=/path/to/python"; exit 1; }
	@echo "installing into $(VENV) with $(PYTHON) ..."
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment: install its venv package" \
		"(on Debian and Ubuntu: apt install python3-venv), then say make again"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input --progress-bar off \
		--only-binary :all: --no-binary nkeys --editable '.[all]' --group dev  # nkeys has no wheel
	@$(BIN)/python -m compileall -q src/piped
	@$(BIN)/piped --version
	@touch $@

demo: install  ## run the distributed service with its workers, ask it, stop it
	@$(BIN)/piped demo

test: install  ## run the tests; what the machine lacks is skipped, with the reason
	@$(PYTEST)

test-all: install  ## run the tests; a skip is a failure
	@PIPED_NO_SKIPS=1 $(PYTEST)

chaos: install  ## do faults to worker pools, as many as there are; ROWS=1,2 SEED=7 for some again
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(ROWS),--rows $(ROWS))

fuzz: install  ## throw bytes at the HTTP protocol for SECONDS=60
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group fuzz
	@mkdir -p build/fuzz
	@$(BIN)/python -m tests.fuzz.http -max_total_time=$(or $(SECONDS),60) -artifact_prefix=build/fuzz/ build/fuzz

lint: install  ## check style and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

docs: install  ## write the reference pages from the declarations, and the site into build/site
	@$(BIN)/python docs/generate.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open build/site/index.html; to search it: $(BIN)/python -m http.server -d build/site"

bench: install  ## measure, beside something else in the same run, and draw; 20 minutes
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench
	@$(BIN)/python bench/engine.py
	@$(BIN)/python bench/startup.py
	@$(BIN)/python bench/web.py
	@$(BIN)/python bench/pool.py --quick
	@$(BIN)/python bench/tracked.py
	@$(BIN)/python bench/limits.py
	@$(BIN)/python bench/growth.py

bench-peers:  ## make the environment of what Piped is measured beside
	@$(PYTHON) -m venv bench/peers/.venv
	@bench/peers/.venv/bin/python -m pip install --quiet -r bench/peers/requirements.txt

clean:  ## remove what the other words have made
	rm -rf $(VENV) bench/peers/.venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
