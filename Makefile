# `make help` says what there is. PYTHON is what .venv is made with: make PYTHON=python3.12 test

PYTHON ?= python3
# Most tests wait for processes of their own, so there is room for more of them than there are cores.
PROCESSES ?= 3
VENV := .venv
LIBRARIES_VENV := .venv-libraries
OLDEST_VENV := .venv-oldest
# The CPU build; what PyPI has for Linux comes with gigabytes of CUDA.
TORCH ?= torch --extra-index-url https://download.pytorch.org/whl/cpu

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: tour test test-libraries test-versions lint clean help

# Installing takes the lock alone and running shares it, so that `make tour` and `make test` at the same time
# don't pull packages from under each other. Each environment's lock is on a file that is there: none is created for it.
FLOCK := $(shell command -v flock 2>/dev/null)
VENV_LOCK := Makefile
LIBRARIES_LOCK := tests/integration/libraries/requirements.txt
OLDEST_LOCK := tests/oldest_versions.py
alone = $(if $(FLOCK),flock $(1))
shared = $(if $(FLOCK),flock --shared --close $(1))

# Each extra has a stamp in its environment; the larger one renews the smaller one's.
TOUR_STAMP := $(VENV)/.skep-tour
TEST_STAMP := $(VENV)/.skep-test
LIBRARIES_STAMP := $(LIBRARIES_VENV)/.skep-libraries
OLDEST_STAMP := $(OLDEST_VENV)/.skep-oldest
COMMA := ,
LIBRARIES := tests/integration/libraries/requirements.txt

# What touches the packages that checkpoints are made with and of. Cycles, outages and random cells take a minute each,
# and do the same with them as the others.
VERSIONS_TESTS = tests/unit tests/property tests/integration/test_fidelity.py \
    $(filter-out %_cycles.py %_oracle.py %_outages.py,$(wildcard tests/integration/test_checkpoint*.py))

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

# $(call install,lock,venv,packages,stamps to renew,command before): nothing if another make has done it meanwhile.
define install
	@$(call alone,$(1)) sh -eu -c ' \
	    is_new=yes; for file in $^; do if ! [ "$@" -nt "$$file" ]; then is_new=no; fi; done; \
	    if [ $$is_new = yes ]; then exit 0; fi; \
	    if ! $(2)/bin/python -m pip --version >/dev/null 2>&1; then \
	        if ! command -v "$(PYTHON)" >/dev/null; then \
	            echo "make: no $(PYTHON) on PATH; install Python 3.11 or newer, or make PYTHON=/path/to/python3" >&2; exit 1; \
	        fi; \
	        "$(PYTHON)" -c "$$CHECK_PYTHON" "$(PYTHON)"; \
	        $(2)/bin/python -c "" 2>/dev/null || rm -rf $(2); \
	        echo "making $(2) with $$("$(PYTHON)" --version)"; \
	        "$(PYTHON)" -m venv $(2); \
	    fi; \
	    echo "installing $(3) into $(2)"; \
	    $(5)$(2)/bin/python -m pip install --quiet --disable-pip-version-check --editable $(3); \
	    touch $(4)'
endef

tour: $(TOUR_STAMP)  ## a story in the terminal: cells, a worker killed, the session carried on
	@$(call shared,$(VENV_LOCK)) $(VENV)/bin/skep tour

test: $(TEST_STAMP)  ## the tests, on a real Redis that they start themselves
	@$(call shared,$(VENV_LOCK)) $(VENV)/bin/pytest --numprocesses $(PROCESSES) --dist worksteal

test-libraries: $(LIBRARIES_STAMP)  ## objects of some fifty libraries, each at its newest version
	@$(call shared,$(LIBRARIES_LOCK)) $(LIBRARIES_VENV)/bin/pytest tests/integration/libraries

test-versions: $(OLDEST_STAMP)  ## the tests of checkpoints, with the oldest versions of what they touch
	@$(call shared,$(OLDEST_LOCK)) $(OLDEST_VENV)/bin/pytest --numprocesses $(PROCESSES) --dist worksteal $(VERSIONS_TESTS)

lint: $(TEST_STAMP)  ## ruff, mypy and the import contracts
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

$(TOUR_STAMP): pyproject.toml
	$(call install,$(VENV_LOCK),$(VENV),".[embedded]",$(TOUR_STAMP))

$(TEST_STAMP): pyproject.toml
	$(call install,$(VENV_LOCK),$(VENV),".[dev]",$(TEST_STAMP) $(TOUR_STAMP))

$(LIBRARIES_STAMP): pyproject.toml $(LIBRARIES)
	$(call install,$(LIBRARIES_LOCK),$(LIBRARIES_VENV),".[embedded]" --no-compile --requirement $(LIBRARIES) $(TORCH),$(LIBRARIES_STAMP))

$(OLDEST_STAMP): pyproject.toml tests/oldest_versions.py
	$(call install,$(OLDEST_LOCK),$(OLDEST_VENV),".[dev$(COMMA)fidelity]" --constraint $(OLDEST_VENV)/oldest.txt,$(OLDEST_STAMP),\
	    $(OLDEST_VENV)/bin/python tests/oldest_versions.py >$(OLDEST_VENV)/oldest.txt; )

clean:  ## remove what these commands made, their environments too
	rm -rf $(VENV) $(LIBRARIES_VENV) $(OLDEST_VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## /  make \1	/p' Makefile
