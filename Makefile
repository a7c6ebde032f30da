# Two commands from a fresh clone: `make demo` and `make test`.
# Tools land in .boot/ and .venv/, state in .crossimpact/ (and pip's and uv's own caches).
PY ?= $(shell command -v python3.11 || command -v python3)
UV := .boot/bin/uv
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install demo test lint bench lock sbom up down secrets rehearse

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

install: .venv/.ready  ## create the environment from the lock (done by the others when needed)

.venv/.ready: requirements.lock pyproject.toml
	@test -x $(UV) || $(PY) -m pip --version >/dev/null || { echo "pip is missing: apt-get install python3-pip"; exit 1; }
	@test -x $(UV) || { mkdir -p .boot && sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .boot/uv.lock && \
		$(PY) -m pip install -q --disable-pip-version-check --root-user-action ignore --require-hashes --target .boot -r .boot/uv.lock; }
	@$(UV) venv -q --allow-existing --python $(PY) --no-python-downloads .venv
	@$(UV) pip sync -q -p $(BIN)/python --compile-bytecode requirements.lock
	@$(UV) pip install -q -p $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: .venv/.ready  ## run the whole job on a demo desk through Airflow and print what came out
	@$(BIN)/python -m ops.demo

test: .venv/.ready  ## run the test suite
	@$(BIN)/pytest -n 2 --dist loadscope --no-loadscope-reorder --durations 15

lint: .venv/.ready  ## lint, formatting, types and import floors
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PYTHONPATH=. $(BIN)/lint-imports

bench: .venv/.ready  ## measure the refit at 20, 50 and 100 symbols
	@$(BIN)/python benchmarks/refit_scaling.py

lock: .venv/.ready  ## resolve requirements.lock anew from pyproject.toml
	@$(UV) pip compile -q --upgrade --generate-hashes --no-annotate --no-header --python-version 3.11 \
		pyproject.toml --extra platform --extra s3 --extra service --group dev -o requirements.lock

sbom: .venv/.ready  ## write sbom.json: what the lock installs, as CycloneDX
	@$(BIN)/python -m ops.sbom sbom.json

up: .venv/.ready  ## start Airflow and an MLflow server on this machine (loopback only)
	@$(BIN)/python -m ops.serve up

down: .venv/.ready  ## stop them
	@$(BIN)/python -m ops.serve down

secrets: .venv/.ready  ## write the secrets of docker-compose.yml to .env, once
	@$(BIN)/python -m ops.stack.secrets make

rehearse: .venv/.ready  ## run the services of docker-compose.yml through a day, a backup and a restore
	@$(BIN)/python -m ops.stack.rehearse $(if $(SMALL),--small) $(if $(FAULTS),--faults $(FAULTS)) $(if $(FORM),--form $(FORM))
