# Ironlease: every command of a day's work. See README.md.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-gpu lint bench serve screenshots nvml schema docs lock system clean

demo: system .venv/ready
	$(BIN)/python -m lab demo $(if $(ONCE),--once) $(if $(JSON),--json $(JSON))

# Two at a time, but for what keeps all processors busy with machines.
test: system .venv/ready
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m "not lab"
	$(BIN)/python -m pytest --numprocesses 2 --dist loadscope -m "lab and not alone"
	$(BIN)/python -m pytest -m alone
endif

# The agent on the GPUs of this machine, without the virtual rack.
test-gpu: .venv/ready
	$(BIN)/python -m pytest -m gpu $(ARGS) tests/gpu

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: system .venv/ready
	$(BIN)/python -m bench all

serve: .venv/ready
	$(BIN)/python -m lab serve $(if $(PORT),--port $(PORT))

# The pictures in docs/images/, from the pages of `make serve` in Debian's chromium.
screenshots: system .venv/ready
	$(BIN)/python -m docs.screenshots

# An NVML without a GPU, for machines of the virtual rack and for tests.
nvml: system .venv/ready
	$(BIN)/python -m lab.nvml

# Debian packages that the virtual rack and the tests use; only what is missing is installed.
system:
	@./lab/system-packages

# Everything with the hash of requirements.lock, the builder of the project itself too.
.venv/ready: requirements.lock setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Writes requirements.lock anew for the ranges of setup.cfg; UPGRADE=1 takes newer versions.
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet 'uv>=0.13'
	build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade) \
		--extra dev --output-file requirements.lock setup.cfg

clean:
	rm -rf .venv build dist *.egg-info

schema: .venv/ready
	$(BIN)/python -m provisioner.store.schema > schema.sql

# The tables in docs/ that the code knows, rackctl's reference, and the API's document.
docs: .venv/ready
	$(BIN)/python -m provisioner.service.api.openapi > docs/openapi.json
	$(BIN)/python docs/tables.py
