# Every target does its own set-up on a fresh Debian 12 (root, package registries only).
VENV ?= .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed
NICE := nice -n 5
MARKS := not slow and not long

.PHONY: demo test test-all test-long programs tier-here tier-twin lint twin-up twin-down setup

setup: $(STAMP)

$(STAMP): requirements.txt requirements-dev.txt pyproject.toml bin/setup
	bin/setup $(VENV)
	@touch $@

demo: setup
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" bin/demo

# What needs no guests runs beside the twin, which waits a lot; it is shown when it has ended. Go builds what the
# whole home needs meanwhile, where that was never done on this machine.
test: setup
	$(MAKE) --no-print-directory -j 3 -k MARKS="not slow and not long" programs tier-here tier-twin

test-all: setup lint
	$(MAKE) --no-print-directory -j 3 -k MARKS="not long" programs tier-here tier-twin

programs:
	@$(PYTHON) -m twin.go_programs

# Two processes where nothing is shared.
tier-here:
	@log=$$(mktemp); trap 'rm -f '$$log EXIT; $(NICE) $(PYTHON) -m pytest -m "$(MARKS)" -n 2 --dist loadfile tests/unit tests/api tests/live \
		>$$log 2>&1; code=$$?; cat $$log; exit $$code

# One twin for all that needs real guests. tests/verify runs in there.
tier-twin:
	$(PYTHON) -m pytest -m "$(MARKS)" tests/twin

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
