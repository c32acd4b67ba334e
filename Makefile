# What a person types here; `make help` lists it. The pieces behind it: tools/, examples/Makefile,
# native/CMakeLists.txt (run by pip through pyproject.toml).

VENV := .venv
PYTHON ?=
JOBS ?= 2
# Tests at the same time: they wait for a good part of their time, so one more than processors
TESTS ?= 3
# Further arguments for pytest: make test ARGS='-k loader -x'; '-n 0' for one test at a time
ARGS ?=

python := $(VENV)/bin/python
pip := $(python) -m pip --disable-pip-version-check
requirements = $$($(python) tools/requirements.py $(1))
# .venv/.NAME is as old as the last successful run of that step.
core := $(VENV)/.core
stamp_test := $(VENV)/.test
stamp_lint := $(VENV)/.lint
stamp_docs := $(VENV)/.docs

native := $(shell find native -name "*.[ch]" -o -name "*.py" -o -name CMakeLists.txt) \
	src/slipstream/_core.pyi
header := $(wildcard include/*.h)
streams := $(wildcard examples/streams/*.jsonl)

export PYTHON
export CMAKE_BUILD_PARALLEL_LEVEL := $(JOBS)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup examples demo hello docs pages test check-examples check-languages rogues lint format bench faults kills hostile screenshots floods managers soak packages asan fuzz interop mutants retry stress dist clean distclean test-windows test-macos test-aarch64 test-musl test-pythons wheels

help: ## list these targets
	@echo 'Start with `make demo` and `make test`. All targets:'
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)$$/  make \1|\2/p' $(MAKEFILE_LIST) | \
		while IFS='|' read -r name text; do printf '%-24s%s\n' "$$name" "$$text"; done

setup: $(core) examples ## make .venv, build the core, install the package editable, build the examples

$(VENV)/.build: pyproject.toml tools/bootstrap.sh tools/requirements.py
	@tools/bootstrap.sh $(VENV)
	@echo 'setup: build requirements'
	@$(pip) install --quiet $(call requirements,build)
	@touch $@

# The extension is built in build/core and copied beside the package's metadata; Python files
# are read from src/ as they are, so only a change of C code or of pyproject.toml comes here.
$(core): $(VENV)/.build pyproject.toml $(native) $(header)
	@echo 'setup: the core (build/core) and the package'
	@$(pip) install --quiet --no-build-isolation --editable '.[check]'
	@touch $@

$(stamp_test): $(VENV)/.build
	@tools/bootstrap.sh $(VENV) --tests
	@$(pip) install --quiet $(call requirements,test)
	@touch $@

$(stamp_lint): $(VENV)/.build
	@$(pip) install --quiet $(call requirements,lint)
	@touch $@

$(stamp_docs): $(VENV)/.build pyproject.toml
	@$(pip) install --quiet $(call requirements,docs)
	@touch $@

examples: $(VENV)/.build ## build the example plugins
	@$(MAKE) -s -C examples -j$(JOBS) all

docs: $(stamp_docs) ## build the site of the docs in build/site; broken links are errors
	@NO_MKDOCS_2_WARNING=1 $(python) -m mkdocs build -f tools/site/mkdocs.yml
	@echo 'build/site/index.html'

pages: setup ## make the pages and pictures anew that are made of the code
	@$(pip) install --quiet $(call requirements,check server)
	@for tool in tools/*_page.py tools/pictures.py tools/house.py; do $(python) $$tool || exit 1; done

demo: setup ## stream the Aleo mainnet's genesis block into SQLite and check the sums
	@$(python) examples/demo/demo.py

hello: setup ## package a plugin, serve it, install it, say hello, change its language
	@$(pip) install --quiet $(call requirements,server packages)
	@$(python) examples/hello/hello.py

test: $(stamp_test) setup ## run all tests, those of the C code under ASan and UBSan too
	@$(python) -m pytest -n $(TESTS) --dist worksteal $(ARGS)

check-examples: setup ## check quickly that the example plugins keep the contract: all are excellent
	@$(VENV)/bin/slipstream check --quick --fail-on note \
		$$(ls examples/*/*.so | grep -v /postgres.so) $(ARGS)

check-languages: $(stamp_test) setup ## check wholly what is written in C, C++, Rust, Zig and Go: each reaches its level
	@$(python) tests/languages/levels.py $(ARGS)

rogues: $(stamp_test) setup ## check the checker: each rogue against all checks, and often against its own
	@$(python) tests/rogues/matrix.py $(ARGS)
	@$(python) tests/rogues/matrix.py --repeat 200 $(ARGS)

lint: $(core) $(stamp_lint) ## ruff and mypy
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
	@$(python) -m mypy

format: $(stamp_lint) ## let ruff format the Python code and sort the imports
	@$(python) -m ruff check --quiet --select I --fix .
	@$(python) -m ruff format .

bench: $(stamp_test) setup ## measure; prints ratios and writes build/bench.json
	@$(python) tests/bench/bench.py

screenshots: $(stamp_test) setup ## take the pictures of the status page in docs/ anew
	@$(python) tools/screenshots.py

faults: $(stamp_test) setup ## break workers 2,000 times, check that nothing is lost; writes build/faults.json
	@$(python) tests/stress/faults.py $(ARGS)

hostile: $(stamp_test) setup ## send 105,000 hostile requests to a daemon while events stream; every answer is checked
	@$(python) tests/stress/hostile.py $(ARGS)

floods: $(stamp_test) setup ## a million calls of the application from eight threads, in each mode; writes build/floods.json
	@$(python) tests/stress/floods.py $(ARGS)

managers: $(stamp_test) setup ## let two managers load 100,000 times at once, and hear only their own
	@$(python) tests/stress/fault_managers.py $(ARGS)

asan: $(stamp_test) setup ## run the tests that go through the core with ASan and UBSan in it
	@$(python) tools/asan.py $(ARGS)

fuzz: $(stamp_test) setup ## feed the parsers of foreign bytes with libFuzzer, 20 minutes each; writes build/fuzz.json
	@$(python) tests/fuzz/fuzz.py $(ARGS)

interop: setup ## compare the Aleo codec with snarkVM's own crates, which cargo fetches and builds
	@$(python) tools/interop.py $(ARGS)

mutants: $(stamp_test) setup ## change a line at a time, see whether the tests notice; writes build/mutants.json
	@$(python) tools/mutants.py $(ARGS)

retry: $(stamp_test) setup ## let plugins ask for an event again for half a minute, in every way
	@SLIPSTREAM_LONG=1 $(python) -m pytest -q tests/delivery/test_retry.py $(ARGS)

soak: $(stamp_test) setup ## a daemon under three times a node's load for an hour; ARGS=600 for ten minutes; writes build/soak.json
	@$(python) tests/stress/soak.py $(ARGS)

packages: $(stamp_test) setup ## swap packages 10,000 times, kill their changes 500 times and downloads 200 times
	@SLIPSTREAM_SWAPS=10000 SLIPSTREAM_KILLS=500 SLIPSTREAM_LONG=1 $(python) -m pytest -q -s \
		tests/packages/test_installed.py tests/packages/test_signatures.py $(ARGS)
	@SLIPSTREAM_KILLS=200 $(python) -m pytest -q -s -k killed tests/packages/test_hostile_centrals.py

test-windows: $(stamp_test) setup ## run the core for Windows under wine
	@tools/bootstrap.sh $(VENV) --needs wine64 wine64 wine /usr/lib/wine/wine64
	@SLIPSTREAM_LONG=1 $(python) -m pytest -q tests/windows $(ARGS)

test-macos: $(stamp_test) setup ## build the core for macOS, arm64 and x86-64, and look at what it exports and needs
	@SLIPSTREAM_LONG=1 $(python) -m pytest -q tests/macos $(ARGS)

test-aarch64: $(stamp_test) setup ## run the core for Linux aarch64 under qemu-user, with Debian's Python for it
	@tools/bootstrap.sh $(VENV) --needs qemu-user qemu-aarch64
	@SLIPSTREAM_LONG=1 $(python) -m pytest -q tests/elsewhere/test_aarch64.py $(ARGS)

test-musl: $(stamp_test) setup ## run the core's programs of tests/native with musl
	@tools/bootstrap.sh $(VENV) --needs musl /lib/ld-musl-x86_64.so.1
	@SLIPSTREAM_LONG=1 $(python) -m pytest -q tests/elsewhere/test_musl.py $(ARGS)

test-pythons: $(stamp_test) setup ## run a good part of the tests on the other Pythons that are here, with the wheel in dist
	@$(python) tools/pythons.py $(ARGS)

kills: $(stamp_test) setup ## kill a daemon 200 times under a producer; nothing is lost or twice
	@SLIPSTREAM_KILLS=200 $(python) -m pytest -q -s tests/server/test_start_kills.py $(ARGS)

stress: $(stamp_test) setup ## random load under ASan, UBSan and TSan for 20 minutes; writes build/stress.json
	@$(python) tools/stress.py $(ARGS)

dist: $(VENV)/.build ## build dist/*.whl and check it in a clean environment
	@rm -rf dist
	@$(pip) wheel --quiet --no-deps --no-build-isolation \
		--config-settings=build-dir=build/wheel --wheel-dir dist .
	@$(python) tools/check_wheel.py dist/*.whl

wheels: $(stamp_test) setup ## build dist/*.whl for all systems, and check each
	@rm -rf dist
	@$(pip) install --quiet $(call requirements,wheels)
	@$(python) tools/wheels.py
	@$(python) tools/check_wheel.py dist/*.whl
	@$(python) tools/audit_wheels.py dist/*.whl
	@SLIPSTREAM_WHEEL=$$(realpath dist/*_aarch64.whl) $(MAKE) test-aarch64

clean: ## remove what was built
	@$(MAKE) -s -C examples clean
	@rm -rf build dist $(core) src/slipstream/_native/cdef.pyi

distclean: clean ## remove .venv and the caches of tools as well
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find src tests examples tools native -name __pycache__ -type d -prune -exec rm -rf {} +
