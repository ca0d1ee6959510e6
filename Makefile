# Every target does its own set-up on a fresh Debian 12 (root, package registries only).
VENV ?= .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: demo test test-all test-long lint twin-up twin-down setup

setup: $(STAMP)

$(STAMP): requirements.txt requirements-dev.txt pyproject.toml bin/setup
	bin/setup $(VENV)
	@touch $@

demo: setup
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" bin/demo

# Two processes where nothing is shared; one twin for all that needs real guests. tests/verify runs in there.
test: setup
	$(PYTHON) -m pytest -m "not slow and not long" -n 2 --dist loadfile tests/unit tests/api tests/live
	$(PYTHON) -m pytest -m "not slow and not long" tests/twin

test-all: setup lint
	$(PYTHON) -m pytest -m "not long" -n 2 --dist loadfile tests/unit tests/api tests/live
	$(PYTHON) -m pytest -m "not long" tests/twin

# Services stopped, killed, updated and rolled back, one after the other: an hour or more.
test-long: setup
	$(PYTHON) -m pytest -m long tests/twin

lint: setup
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

twin-up: setup
	$(PYTHON) -m twin up

twin-down: setup
	$(PYTHON) -m twin down
