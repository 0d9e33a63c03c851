# Everything a developer types. `make help` lists it.
#
# Set-up is by stamp files: an environment is made again only when its
# requirements change, so every target may ask for what it needs.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.ONESHELL:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
UV_VERSION := 0.13.9

export SAM_CLI_TELEMETRY := 0
export AWS_DEFAULT_REGION ?= us-east-1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The requirement files are complete sets, so pip has nothing to resolve.
INSTALL := -m pip install -qq --no-deps --require-hashes -r
BIN := .venv/bin
SAM := .tools/sam/bin/sam

LOCAL := .venv/local.stamp .tools/sam/stamp .tools/emulator/stamp .tools/runtime/stamp
DEV := .venv/dev.stamp

.PHONY: help
help:  ## List what can be made
	@grep -hE '^[a-z0-9-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 20

# ---- Environments ---------------------------------------------------------

.PHONY: setup
setup: $(LOCAL) $(DEV)  ## Make every environment (Python 3.11 or later with venv is all it needs)

.PHONY: python-works
python-works:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
	  echo "Dropwell needs Python 3.11 or later, which '$(PYTHON)' is not. Name another: make PYTHON=..."
	  exit 1
	} >&2
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || {
	  echo "'$(PYTHON)' cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv"
	  exit 1
	} >&2

# What a user of the local stack runs, and the project itself.
.venv/local.stamp: requirements/local.txt pyproject.toml | python-works
	$(PYTHON) -m venv .venv
	$(BIN)/python $(INSTALL) requirements/local.txt
	$(BIN)/python -m pip install -qq --no-deps --no-build-isolation --editable .
	touch $@

# What tests and checks need besides.
.venv/dev.stamp: requirements/dev.txt .venv/local.stamp
	$(BIN)/python $(INSTALL) requirements/dev.txt
	touch $@

# Tools that live apart: sam and the emulator pin what others want newer, and
# `runtime` holds exactly what AWS's own Python runtime does.
.tools/%/stamp: requirements/%.txt | python-works
	$(PYTHON) -m venv .tools/$*
	.tools/$*/bin/python $(INSTALL) requirements/$*.txt
	touch $@

# The development set on Lambda's own Python, where that is at hand. (pyenv's
# shims answer only to a version that is asked for; others ignore the variable.)
LAMBDA_PYTHON := PYENV_VERSION=3.13 python3.13
ifeq ($(shell $(LAMBDA_PYTHON) -c 'print("works")' 2>/dev/null),works)
ON_LAMBDA_PYTHON := .tools/lambda-python/stamp
endif

.tools/lambda-python/stamp: requirements/dev.txt pyproject.toml
	$(LAMBDA_PYTHON) -m venv .tools/lambda-python
	.tools/lambda-python/bin/python $(INSTALL) requirements/dev.txt
	.tools/lambda-python/bin/python -m pip install -qq --no-deps --no-build-isolation --editable .
	touch $@

# ---- Run ------------------------------------------------------------------

.PHONY: demo
demo: $(LOCAL)  ## Start the local stack and drop five bundles into it
	$(BIN)/dropwell local demo

# ---- Test -----------------------------------------------------------------

.PHONY: test
test: test-parts test-e2e  ## Run every test that needs no apt package

.PHONY: test-parts
test-parts: $(LOCAL) $(DEV)  ## Run unit, functional, contract and simulation tests, and doctests
	$(BIN)/python -m pytest -n 4 -m "not e2e and not system" \
	  --cov --cov-branch --cov-report=term --cov-fail-under=95 \
	  tests layers/common/dropwell local/dropwell_local cli/dropwell_cli

.PHONY: test-e2e
test-e2e: $(LOCAL) $(DEV)  ## Run the tests of the whole local stack
	$(BIN)/python -m pytest -n 2 --dist loadfile -m e2e tests/e2e

.PHONY: test-system
test-system: $(LOCAL) $(DEV) .tools/supervisor/stamp  ## Install what only apt brings (as root) and run the tests that need it
	if [ "$$(id -u)" = 0 ]; then
	  apt-get update -qq
	  grep -v '^#' tests/system/apt-packages.txt |
	    DEBIAN_FRONTEND=noninteractive xargs apt-get install -qq -y --no-install-recommends >/dev/null
	fi
	$(BIN)/python -m pytest -n 2 --dist loadfile -m system tests/system

.PHONY: test-lambda-python
test-lambda-python: $(LOCAL) $(ON_LAMBDA_PYTHON)  ## Test what Lambda runs on its Python, 3.13, if it is at hand
ifdef ON_LAMBDA_PYTHON
	.tools/lambda-python/bin/python -m pytest -n auto $(wildcard tests/unit/test_*.py tests/functional/test_*.py)
else
	@echo "No python3.13 here: functions and layer are tested on $(PYTHON) only"
endif

.PHONY: check
check: $(DEV) .tools/sam/stamp  ## Lint, types, template
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(SAM) validate --lint --template template.yaml
	$(BIN)/cfn-lint --append-rules cfn_lint_serverless.rules -- template.yaml stacks/*.yaml

.PHONY: bench
bench: $(LOCAL) $(DEV)  ## Print the figures that the README quotes
	$(BIN)/python -m benchmarks

.PHONY: pictures
pictures: $(LOCAL)  ## Take the pictures in docs/pictures anew where their words have changed
	$(BIN)/python -m pictures

# ---- Build ----------------------------------------------------------------

.PHONY: build
build: .tools/sam/stamp  ## sam build for AWS (python3.13, arm64)
	PATH="$(CURDIR)/.tools/sam/bin:$$PATH" $(SAM) build

.PHONY: stacks
stacks:  ## Write into the templates of stacks/ the programs that they carry
	$(PYTHON) worker/embed.py
	$(PYTHON) stacks/embed.py

.PHONY: lock
lock: export UV_CUSTOM_COMPILE_COMMAND := make lock
lock: | python-works  ## Compile requirements/*.in again (UPGRADE=1 takes newer releases)
	test -x .tools/lock/bin/uv || $(PYTHON) -m venv .tools/lock
	.tools/lock/bin/python -m pip install -qq uv==$(UV_VERSION)
	compile() {
	  .tools/lock/bin/uv pip compile --quiet --universal --python-version $${ON:-3.11} --generate-hashes \
	    --no-emit-index-url --no-emit-find-links $(if $(UPGRADE),--upgrade) "$$@"
	}
	compile --no-deps layers/common/requirements.in -o layers/common/requirements.txt
	for set in local dev sam emulator runtime; do
	  compile requirements/$$set.in -o requirements/$$set.txt
	done
	# Installed by Amazon Linux's own Python.
	ON=3.9 compile requirements/supervisor.in -o server/supervisor.txt

.PHONY: clean
clean:  ## Remove what was made here: environments, builds, caches
	rm -rf .venv .tools .aws-sam .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
