# Two commands matter: `make demo` and `make test`. Both make what they need under .cache/ on their first run.
# The test cluster is the machine's: its programs and images are under the user's cache folder, ascend-testcluster/.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENVS := .cache/venvs
# What needs to run once runs on the newest. Make lists a folder once only, so a target that makes the environments
# leaves their use to a make of its own.
NEWEST = $(lastword $(sort $(wildcard $(VENVS)/3.*)))
BIN = $(NEWEST)/bin
PYTEST = python -m pytest --quiet --numprocesses 2
# Whole programs out of what other tests try in each Python.
ONCE = $(addprefix --ignore ,tests/docs tests/typing tests/unit/test_benchmarks.py tests/unit/test_demo.py)
BUILDERS = $(addprefix tests/cluster/test_,kaniko.py buildkit.py four_ways.py)
TESTCLUSTER = $(BIN)/python -m tests.testcluster

# A user's settings must not leak into the checks.
unexport VIRTUAL_ENV PYTHONPATH ASCEND_CLUSTER ASCEND_NAMESPACE ASCEND_PROFILE ASCEND_STORAGE
export PYTHONDONTWRITEBYTECODE := 1
export UV_NO_PROGRESS := 1

define say
@printf '\n== %s ==\n' '$(1)'
endef

.PHONY: help
help: ## Say what there is
	@echo 'Two commands matter:'
	@sed -nE 's/^(demo|test):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | sed -E 's/\|/          /'
	@echo 'The rest:'
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | grep -vE '^(demo|test)\|' \
	  | while IFS='|' read -r name text; do printf '  make %-13s %s\n' "$$name" "$$text"; done

.PHONY: environments
environments: ## Make one environment for every Python that is here
	$(call say,environments)
	@$(PYTHON) .ci/environments.py

.PHONY: demo
demo: ## Run real work through the local cluster
	$(call say,environment)
	@$(PYTHON) .ci/environments.py demo
	$(call say,ascend demo)
	@$(VENVS)/demo/bin/ascend demo

.PHONY: test
test: environments ## Check everything: format, lint, types, contracts, tests on every Python and on a cluster
	@$(MAKE) run-test

# The cluster starts beside the other checks.
.PHONY: run-test
run-test:
	@$(TESTCLUSTER) around \
	  '$(MAKE) check-format check-lint check-types check-imports check-tests check-conformance check-soak' \
	  '$(MAKE) run-cluster-tests run-builder-tests'

.PHONY: check-format check-lint check-types check-imports check-tests check-conformance check-soak
check-format:
	$(call say,format)
	@$(BIN)/ruff format --check .

check-lint:
	$(call say,lint)
	@$(BIN)/ruff check .

check-types:
	$(call say,types: mypy strict)
	@$(BIN)/mypy --python-executable $(BIN)/python
	@for plugin in plugins/*/pyproject.toml; do test -e "$$plugin" || continue; \
	  folder=$$(dirname "$$plugin"); name=$$(basename "$$folder"); \
	  (cd "$$folder"; "$(CURDIR)/$(BIN)/mypy" --config-file "$(CURDIR)/pyproject.toml" --python-executable "$(CURDIR)/$(BIN)/python" \
	    "$${name//-/_}"); done
	$(call say,types: pyright)
	@$(BIN)/pyright --pythonpath $(BIN)/python
	$(call say,types: pyright on the public surface)
	@PATH="$$PWD/$(BIN):$$PATH" $(BIN)/pyright --pythonpath $(BIN)/python --ignoreexternal --verifytypes ascend

check-imports:
	$(call say,import contracts)
	@$(BIN)/lint-imports --no-logo

check-tests:
	@for venv in $(VENVS)/3.*; do \
	  once=; test "$$venv" = $(NEWEST) || once='$(ONCE)'; \
	  printf '\n== tests on Python %s ==\n' "$${venv##*/}"; \
	  "$$venv/bin/$(firstword $(PYTEST))" $(wordlist 2,99,$(PYTEST)) $(addprefix --ignore ,tests/stdlib tests/soak) $$once -m 'not cluster'; done

# These Pythons have the standard library's own tests: pyenv's 3.13 and, as a package, Debian's 3.11.
check-conformance:
	@for venv in $(filter %/3.11 %/3.13,$(wildcard $(VENVS)/3.*)); do \
	  printf '\n== the standard library'"'"'s own tests, on Python %s ==\n' "$${venv##*/}"; \
	  "$$venv/bin/$(firstword $(PYTEST))" $(wordlist 2,99,$(PYTEST)) tests/stdlib; done

check-soak:
	$(call say,10000 calls on the local cluster: a few minutes)
	@$(BIN)/python -m pytest --quiet -o faulthandler_timeout=1100 tests/soak

.PHONY: check-cluster
check-cluster: environments ## Run the tests on a cluster only
	@$(MAKE) run-check-cluster

.PHONY: run-check-cluster
run-check-cluster:
	@$(TESTCLUSTER) around '$(MAKE) run-cluster-tests run-builder-tests'

.PHONY: run-cluster-tests
run-cluster-tests:
	$(call say,tests on a Kubernetes cluster)
	@# They wait more than they work, but those that build and install would starve the others' bounds.
	@$(BIN)/$(PYTEST) -o faulthandler_timeout=280 $(addprefix --ignore ,$(BUILDERS)) tests/cluster

# Apart, as they take the whole machine, and bounds of other tests would not hold beside them.
.PHONY: check-builders
check-builders: environments ## Build images with Kaniko and BuildKit on a cluster; compiles both first
	@$(MAKE) run-check-builders

.PHONY: run-check-builders
run-check-builders:
	@$(TESTCLUSTER) around '$(MAKE) run-builder-tests'

.PHONY: run-builder-tests
run-builder-tests:
	$(call say,Kaniko and BuildKit on a Kubernetes cluster)
	@$(BIN)/$(PYTEST) --numprocesses 0 -o faulthandler_timeout=580 $(BUILDERS)

.PHONY: cluster
cluster: ## Start or join a Kubernetes of our own: eval "$(make -s cluster)"
	@$(PYTHON) .ci/environments.py >&2
	@$(MAKE) run-cluster

.PHONY: run-cluster
run-cluster:
	@$(TESTCLUSTER) up

.PHONY: cluster-down
cluster-down: ## Stop it
	@$(PYTHON) .ci/environments.py >&2
	@$(MAKE) run-cluster-down

.PHONY: run-cluster-down
run-cluster-down:
	@$(TESTCLUSTER) down

.PHONY: lint
lint: environments ## Check format, lint, types and import contracts only
	@$(MAKE) check-format check-lint check-types check-imports

.PHONY: conformance
conformance: environments ## Run the standard library's own executor tests only, all on Kubernetes too
	@$(MAKE) run-conformance

.PHONY: run-conformance
run-conformance:
	@$(TESTCLUSTER) around '$(MAKE) check-conformance' '$(MAKE) run-cluster-conformance'

.PHONY: run-cluster-conformance
run-cluster-conformance:
	$(call say,all of the conformance tests that suit it on a Kubernetes cluster)
	@CONFORMANCE_ALL=1 $(BIN)/$(PYTEST) tests/cluster/test_conformance.py

.PHONY: docs
docs: environments ## Run every example of the documentation and follow its links
	$(call say,documentation)
	@$(BIN)/python -m pytest tests/docs

.PHONY: bench
bench: ## Measure, beside peers, in the same run
	@$(PYTHON) .ci/environments.py
	@$(MAKE) run-bench

.PHONY: run-bench
run-bench:
	@uv=$$(command -v uv || echo .cache/tools/bin/uv); \
	  "$$uv" pip install --quiet --python $(NEWEST) --constraint .ci/constraints.txt --group bench
	@$(TESTCLUSTER) around '$(BIN)/python -m benchmarks'

.PHONY: format
format: environments ## Write all code in the project's format
	@$(MAKE) run-format

.PHONY: run-format
run-format:
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

.PHONY: constraints
constraints: environments ## Choose the versions of all tools anew
	@$(MAKE) run-constraints

.PHONY: run-constraints
run-constraints:
	@$(BIN)/uv pip compile pyproject.toml --group dev --group bench --universal --python-version 3.11 --upgrade \
	  --no-emit-index-url --no-annotate --quiet --custom-compile-command 'make constraints' --output-file .ci/constraints.txt

.PHONY: clean
clean: ## Remove all that was made
	rm -rf .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache dist build .coverage .coverage.*
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
