# Ironlease: every command of a day's work. See README.md.
PYTHON ?= python3
BIN := .venv/bin
export PYTHONDONTWRITEBYTECODE ?=

.PHONY: demo test lint bench serve schema system clean

demo: .venv/ready system
	$(BIN)/python -m lab demo $(if $(ONCE),--once) $(if $(JSON),--json $(JSON))

test: .venv/ready system
	$(BIN)/python -m pytest $(ARGS)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/ready system
	$(BIN)/python -m bench all

serve: .venv/ready
	$(BIN)/python -m lab serve

# Debian packages that the virtual rack and the tests use; only what is missing is installed.
system:
	@./lab/system-packages

.venv/ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv build dist *.egg-info

schema:
	$(BIN)/python -m provisioner.store.schema > schema.sql
