# Each target is one line to a real command; everything lands in .venv.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help install demo test check format bench docs clean

help:        ## this list
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*## */\t/' | expand -t 12

install: .venv/installed        ## .venv with kenpin[controller]

demo: .venv/installed        ## a whole fleet on this machine; ARGS="--seconds 60"
	$(BIN)/kenpin demo $(ARGS)

test: .venv/tested        ## all tests that this machine can run; ARGS="-k outbox"
	$(BIN)/python -m pytest $(ARGS)

check: .venv/checked        ## ruff and mypy
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: .venv/checked        ## put the code in the house style
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

bench: .venv/installed        ## what a frame costs on this machine; ARGS="--release FILE.kenpin"
	$(BIN)/kenpin-agent bench $(ARGS)

docs: .venv/installed        ## regenerate the wire contract and the deployment's drawing
	$(BIN)/python -m kenpin_wire.asyncapi
	$(BIN)/python -m kenpin_agent.deployment.drawing > docs/deployment.md

clean:        ## remove .venv and caches
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[controller]'
	touch $@

.venv/tested: .venv/installed
	$(BIN)/python -m pip install --quiet --group test
	touch $@

.venv/checked: .venv/installed
	$(BIN)/python -m pip install --quiet --group check
	touch $@
