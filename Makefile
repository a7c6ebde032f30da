# Two commands from a fresh clone: `make demo` and `make test`. Everything lands in .venv/ and .crossimpact/.
PY ?= $(shell command -v python3.11 || command -v python3)
UV := .boot/bin/uv
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install demo up down

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

install: .venv/.ready  ## create the environment from the lock (done by the others when needed)

.venv/.ready: requirements.lock pyproject.toml
	@test -x $(UV) || $(PY) -m pip install -q --disable-pip-version-check --root-user-action ignore --target .boot uv==0.13.9
	@$(UV) venv -q --allow-existing --python $(PY) --no-python-downloads .venv
	@$(UV) pip sync -q -p $(BIN)/python --compile-bytecode requirements.lock
	@$(UV) pip install -q -p $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: .venv/.ready  ## run the whole job on a demo desk through Airflow and print what came out
	@$(BIN)/python -m ops.demo

up: .venv/.ready  ## start Airflow and an MLflow server on this machine (loopback only)
	@$(BIN)/python -m ops.serve up

down: .venv/.ready  ## stop them
	@$(BIN)/python -m ops.serve down
