# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

PYTHON ?= /usr/bin/python3
VENV ?= .venv
# The newest ansible-core that PYTHON carries, or the one that CORE names, in an environment of its own.
ifdef CORE
PYTHON := $(shell python3 tests/suite/cores.py python $(CORE))
VENV := build/cores/$(CORE)
endif
PINS := tests/cores/$(or $(CORE),$(shell $(PYTHON) tests/suite/cores.py newest)).txt
BUILD := build
STAMPS := $(BUILD)/stamps
LINK := $(BUILD)/collections/ansible_collections/zero/downtime
RELEASES ?= 1.0.0 2.0.0 3.0.0-bad
export VENV

.DEFAULT_GOAL := help

.PHONY: help
help:  ## Say what can be made.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

.PHONY: setup
setup: runtime $(VENV)/.stamp-test $(if $(CORE),,$(VENV)/.stamp-tools)  ## Install everything that the tests need; the second time is instant.

.PHONY: runtime
runtime: $(STAMPS)/system $(VENV)/.stamp-runtime $(LINK)

$(STAMPS)/system: tests/bin/system-packages
	@tests/bin/system-packages
	@mkdir -p $(@D) && touch $@

PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(PINS)

$(VENV)/.stamp-runtime: tests/requirements-runtime.txt $(PINS) | $(STAMPS)/system
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) -r $<
	@touch $@

$(VENV)/.stamp-aws: tests/requirements-aws.txt $(VENV)/.stamp-runtime
	@$(PIP) -r tests/requirements-runtime.txt -r $<
	@touch $@

$(VENV)/.stamp-test: tests/requirements-test.txt $(VENV)/.stamp-aws
	@tests/bin/system-packages --tests
	@$(PIP) -r tests/requirements-runtime.txt -r $<
	@touch $@

$(VENV)/.stamp-tools: tests/requirements-tools.txt $(VENV)/.stamp-test
	@$(PIP) -r tests/requirements-runtime.txt -r tests/requirements-test.txt -r $<
	@touch $@

$(VENV)/.stamp-bench: tests/requirements-bench.txt $(VENV)/.stamp-tools
	@$(PIP) -r $<
	@touch $@

# What the suite asks for where a piece of it runs on another ansible-core.
.PHONY: core-environment
core-environment: $(VENV)/.stamp-test

# The collection's directory names are fixed by Ansible; a checkout's are not.
$(LINK):
	@mkdir -p $(@D) && ln -sfn ../../../.. $@

.PHONY: stage
stage: runtime  ## Start the local stage: HAProxy at http://127.0.0.1:8080/, no release yet. RELEASES="1.0.0 2.0.0" builds sample artifacts.
	@$(VENV)/bin/python tests/stage/stage.py up $(RELEASES)

.PHONY: stage-down
stage-down:  ## End the local stage.
	@$(if $(wildcard $(VENV)/bin/python),$(VENV)/bin/python,$(PYTHON)) tests/stage/stage.py down

.PHONY: aws-stage
aws-stage: runtime $(VENV)/.stamp-aws  ## Start the AWS stage: an API of Elastic Load Balancing, and a load balancer at http://127.0.0.1:8090/ before the members of the local stage (make stage).
	@$(VENV)/bin/python tests/aws/run.py up

.PHONY: aws-stage-down
aws-stage-down:  ## End the AWS stage.
	@$(if $(wildcard $(VENV)/bin/python),$(VENV)/bin/python,$(PYTHON)) tests/aws/run.py down

.PHONY: demo
demo: runtime  ## Show seven deploys, rolling, blue/green and canary, and what each one cost. The exit code is 0 only if no request failed.
	@$(VENV)/bin/python tests/stage/demo.py

SUITE = $(VENV)/bin/python tests/bin/suite.py
# What depends on ansible-core. Sanity, lint and containers stay with the usual one.
ON_A_CORE := unit conformance playbooks real integration demo chaos

.PHONY: test
test: setup  ## Run every test; the last line says how many passed and failed. SINCE=REV: what changes since then can break. CORE=2.17: on that ansible-core.
	@$(SUITE) $(if $(SINCE),--since $(SINCE)) $(if $(CORE),$(ON_A_CORE))

.PHONY: test-all
test-all: setup  ## Run also what is proven elsewhere and only worth repeating: for a nightly run.
	@$(SUITE) --all

.PHONY: test-quick
test-quick: setup  ## Run what needs no server: unit tests and lint. (Also: unit, lint, sanity, conformance, playbooks, real, integration, molecule.)
	@$(SUITE) unit lint

.PHONY: unit lint sanity conformance playbooks real integration molecule
unit lint sanity conformance playbooks real integration molecule: setup
	@$(SUITE) $@

.PHONY: stress
stress: setup  ## Run TEST (a file of tests, a piece of the suite, molecule:SCENARIO, all) N times on a machine without time for it; TEST= shows the runs so far.
	@$(VENV)/bin/python tests/suite/stress.py -n $(or $(N),20) --table $(TEST)

.PHONY: chaos
chaos: setup  ## Kill the controller at each step of a deploy, a rollback and going back; another one goes on. POINTS="batch 1" chooses some.
	@$(VENV)/bin/python tests/chaos/sweep.py $(if $(POINTS),"$(POINTS)")

.PHONY: bench
bench: setup $(VENV)/.stamp-bench  ## Compare with community.general.haproxy, Caddy, kamal-proxy (if on PATH) and what the machine allows; writes build/bench.json and docs/bench.md.
	@$(VENV)/bin/python tests/bench/bench.py

.PHONY: swaps
swaps: setup  ## Measure which gunicorn loses requests while releases are swapped; writes the table in docs/process_swap.md. Takes a quarter of an hour.
	@$(VENV)/bin/python tests/bench/swaps.py

.PHONY: docs
docs: setup  ## Write what follows from the registries: argument specs, docs/variables.md, the README's table of drivers; and tests/claims.md.
	@$(VENV)/bin/python tests/bin/generate

.PHONY: changelog
changelog: setup  ## Build CHANGELOG.rst out of the fragments.
	@$(VENV)/bin/python tests/bin/changelog

.PHONY: clean
clean: stage-down aws-stage-down  ## End the stage and remove all that was built, the records too. The virtual environment stays.
	@rm -rf $(BUILD)/artifacts $(BUILD)/chaos $(BUILD)/chaos.json $(BUILD)/compiled $(BUILD)/demo $(BUILD)/integration $(BUILD)/isolated $(BUILD)/records $(BUILD)/results $(BUILD)/sanity $(BUILD)/saved-stage $(BUILD)/stage
