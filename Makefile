# `make help` says what there is. PYTHON is what .venv is made with: make PYTHON=python3.12 test

PYTHON ?= python3
# Most tests wait for processes of their own, so there is room for more of them than there are cores.
PROCESSES ?= 3
VENV := .venv

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: tour test lint clean help

# Installing takes the lock alone and running shares it, so that `make tour` and `make test` at the same time
# don't pull packages from under each other. The lock is on this file: nothing is created for it.
FLOCK := $(shell command -v flock 2>/dev/null)
ALONE := $(if $(FLOCK),flock Makefile)
SHARED := $(if $(FLOCK),flock --shared --close Makefile)

# Each extra has a stamp in .venv; the larger one renews the smaller one's.
TOUR_STAMP := $(VENV)/.skep-tour
TEST_STAMP := $(VENV)/.skep-test

define CHECK_PYTHON
import sys
other = "name another Python: make PYTHON=/path/to/python3"
if sys.version_info < (3, 11):
    sys.exit("make: skep needs Python 3.11 or newer, %s is %s; %s" % (sys.argv[1], sys.version.split()[0], other))
try:
    import ensurepip, venv
except ImportError:
    sys.exit("make: %s lacks venv; install it (Debian, Ubuntu: apt-get install python3-venv) or %s" % (sys.argv[1], other))
endef
export CHECK_PYTHON

# $(call install,extra,stamp,stamps to renew): nothing if another make has done it while this one waited.
define install
	@$(ALONE) sh -eu -c ' \
	    if [ "$(2)" -nt pyproject.toml ]; then exit 0; fi; \
	    if ! $(VENV)/bin/python -m pip --version >/dev/null 2>&1; then \
	        if ! command -v "$(PYTHON)" >/dev/null; then \
	            echo "make: no $(PYTHON) on PATH; install Python 3.11 or newer, or make PYTHON=/path/to/python3" >&2; exit 1; \
	        fi; \
	        "$(PYTHON)" -c "$$CHECK_PYTHON" "$(PYTHON)"; \
	        $(VENV)/bin/python -c "" 2>/dev/null || rm -rf $(VENV); \
	        echo "making $(VENV) with $$("$(PYTHON)" --version)"; \
	        "$(PYTHON)" -m venv $(VENV); \
	    fi; \
	    echo "installing skep[$(1)] into $(VENV)"; \
	    $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[$(1)]"; \
	    touch $(3)'
endef

tour: $(TOUR_STAMP)  ## a story in the terminal: cells, a worker killed, the session carried on
	@$(SHARED) $(VENV)/bin/skep tour

test: $(TEST_STAMP)  ## the tests, on a real Redis that they start themselves
	@$(SHARED) $(VENV)/bin/pytest --numprocesses $(PROCESSES) --dist worksteal

lint: $(TEST_STAMP)  ## ruff, mypy and the import contracts
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

$(TOUR_STAMP): pyproject.toml
	$(call install,embedded,$(TOUR_STAMP),$(TOUR_STAMP))

$(TEST_STAMP): pyproject.toml
	$(call install,dev,$(TEST_STAMP),$(TEST_STAMP) $(TOUR_STAMP))

clean:  ## remove what these commands made, .venv too
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*  ## /  make \1	/p' Makefile
