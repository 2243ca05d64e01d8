# SPDX-License-Identifier: GPL-3.0-or-later
#
# Everything that is built or downloaded goes below .dev/. Only git, make and Python 3 have to be there beforehand.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --no-builtin-rules

# What the scripts find first is asked for a better one (tools/dev.py).
PYTHON ?= python3
# make units ARGS="-k ports", make sanity ARGS="--test validate-modules", make molecule ARGS="deploy"
ARGS ?=

# A locale without UTF-8 stops Ansible, and minimal systems have none set.
export LC_ALL := C.UTF-8
# Only the checkout, not ~/.ansible/collections, where an older copy may lie.
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.dev
export PYTHONUNBUFFERED := 1

VENV := .dev/venv
IN_VENV := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
DEV := $(PYTHON) tools/dev.py
GATES := $(PYTHON) tools/gates.py
GATE_ARGS = $(if $(ARGS),--args="$(ARGS)")

.PHONY: help
help: ## This list
	@echo "usage: make TARGET [ARGS=...]"; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

## --- first things

.PHONY: demo demo-destroy
demo: venv tree ## A bare server in a container, three apps deployed to it over SSH, their addresses
	@$(IN_VENV) $(VENV)/bin/python demo/demo.py up $(ARGS)

demo-destroy: venv tree ## Remove what `make demo` made
	@$(IN_VENV) $(VENV)/bin/python demo/demo.py destroy $(ARGS)

## --- gates

.PHONY: test check lint types sanity units molecule integration
test: ## Everything: lint, types, units, integration, molecule, sanity; ends with a table
	@$(GATES) test

check: ## What to run before each commit: lint, types, units
	@$(GATES) lint types units

lint: ## ruff, ansible-lint, antsibull-docs, antsibull-changelog
	@$(GATES) lint

types: ## mypy --strict
	@$(GATES) types

sanity: ## ansible-test sanity on ansible-core 2.19 and the newest (ARGS: for ansible-test)
	@$(GATES) sanity $(GATE_ARGS)

units: ## Unit, property and packaging tests, on both (ARGS: for pytest; HYPOTHESIS_PROFILE=ci looks harder)
	@$(GATES) units $(GATE_ARGS)

integration: ## Tests against real Docker, nginx and PostgreSQL on this machine (ARGS: for pytest)
	@$(GATES) integration $(GATE_ARGS)

molecule: ## Every Molecule scenario on real servers in containers (ARGS: names of scenarios)
	@$(GATES) molecule $(GATE_ARGS)

## --- more

.PHONY: bench build venv tree clean
bench: tree ## Measure against the budgets in docs/, both sides in one run
	@if [ -e tests/benchmark/requirements.txt ]; then name=bench dir=.dev/venv-bench; else name=main dir=.dev/venv; fi; \
	$(DEV) venv $$name; \
	PATH="$(CURDIR)/$$dir/bin:$$PATH" $$dir/bin/python tests/benchmark/run.py $(ARGS)

build: venv ## The archive for ansible-galaxy, in .dev/dist/
	@$(VENV)/bin/ansible-galaxy collection build --force --output-path .dev/dist .

venv: ## .dev/venv with the tools, pinned; built once
	@$(DEV) venv

tree: ## .dev/ansible_collections, in which the checkout is the collection
	@$(DEV) tree

# The test bed's servers and images are not here: `make demo-destroy` and `python3 testbed/testbed.py destroy`.
clean: ## Remove .dev/, caches and built archives
	@rm -rf .dev .ansible .hypothesis .pytest_cache .ruff_cache .mypy_cache tests/output serverkit-core-*.tar.gz
	@find . -name __pycache__ -type d -prune -not -path './.git/*' -exec rm -rf {} +
