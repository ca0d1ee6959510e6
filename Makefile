# Every target does its own set-up on a fresh Debian 12 (root, package registries only).
VENV ?= .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: demo test test-all lint twin-up twin-down setup

setup: $(STAMP)

$(STAMP): requirements.txt requirements-dev.txt pyproject.toml bin/setup
	bin/setup $(VENV)
	@touch $@

demo: setup
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" bin/demo

test: setup
	$(PYTHON) -m pytest -m "not slow" tests

test-all: setup lint
	$(PYTHON) -m pytest tests

lint: setup
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

twin-up: setup
	$(PYTHON) -m twin up

twin-down: setup
	$(PYTHON) -m twin down
