# SPDX-License-Identifier: GPL-2.0-or-later
# Both `make demo` and `make test` start from a bare clone. PYTHON=/path/to/python chooses the interpreter.

# Where the environment asks Python to keep no compiled modules, each of the tests' thousand processes would compile softnet anew,
# and every test run the tests.
export PYTHONDONTWRITEBYTECODE :=

PYTEST_ARGS ?=
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help venv demo test check lint format clean

help:
	@echo "make demo    what the seed patch does to a PREEMPT_RT machine under real traffic"
	@echo "make test    every test"
	@echo "make check   ruff, mypy and the quick tests: before every commit"
	@echo "make format  lay the code out as ruff does"
	@echo "make venv    only the virtual environment, .venv"
	@echo "make clean   remove what the tools and the demo wrote, .venv included"

venv: .venv/.installed-dev

# One stamp per set of extras, renewed when the dependencies change.
.venv/.installed-%: pyproject.toml tools/bootstrap.sh
	@tools/bootstrap.sh venv '$*'

demo: .venv/.installed-frames,report
	@.venv/bin/softnet demo --out demo-out

test: .venv/.installed-dev
	@tools/bootstrap.sh packages
	@.venv/bin/python -m pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

lint: .venv/.installed-dev
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check --quiet
	@.venv/bin/mypy

format:
	@.venv/bin/ruff check --fix-only --quiet
	@.venv/bin/ruff format

check: lint
	@.venv/bin/python -m pytest -q -n $(JOBS) --dist worksteal -m 'not slow and not browser and not kernel' $(PYTEST_ARGS)

clean:
	rm -rf .venv build dist demo-out .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests tools bench -name __pycache__ -type d -prune -exec rm -rf {} +
