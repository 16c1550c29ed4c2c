# Targets are listed by `make help`: the words after ## are their description.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
STORE ?= postgresql
SEEDS ?= 5000
MINUTES ?= 30
ARGS ?=
BIN := .venv/bin
STAMP := .venv/.complete
LOCKED := --constraint requirements.lock --universal --python-version 3.11 --only-binary :all: --generate-hashes --no-header --quiet
IMAGE ?= durable-timer:dev
BASE_IMAGE ?= python:3.13-slim
TYPED := operator api_bridge tests $(wildcard bench docs faults e2e)

##@ Use it
.PHONY: help
help: ## List all targets
	@awk -F ':.*## ' '/^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: $(STAMP) ## Make .venv with everything that runs, tests and checks the project

.PHONY: run
run: $(STAMP) ## Start the service on 127.0.0.1:8080 with SQLite, an example group and timers to watch; Ctrl-C ends it
	@exec $(BIN)/python -m durable_timer.demo

##@ Prove it
.PHONY: test
test: $(STAMP) ## Run all tests, those of the house and of PostgreSQL too; ARGS="-k cancel" for some
	@$(BIN)/python -m pytest $(ARGS)

.PHONY: test-cluster
test-cluster: $(STAMP) ## Run the tests that need a Kubernetes API server: KUBECONFIG's, or a local one; ARGS="-k lease" for some
	@DURABLE_TIMER_TEST_CLUSTER=yes $(BIN)/python -m pytest tests/cluster $(ARGS)

.PHONY: simulate
simulate: $(STAMP) ## Simulate crashes, partitions and pauses from SEEDS=5000 seeds; prints the seed that fails
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(ARGS)

.PHONY: bench
bench: $(STAMP) ## Measure creates, cancels, a burst, 1,000 timers a second, a kill; STORE=sqlite or STORE=postgresql
	@$(BIN)/python -m bench --store $(STORE) $(ARGS)

.PHONY: bench-growth
bench-growth: $(STAMP) ## Measure beside a million pending rows, a million due, idle shards, more executors
	@$(BIN)/python -m bench growth --store $(STORE) $(ARGS)

.PHONY: bench-neighbours
bench-neighbours: $(STAMP) ## Measure a group's lateness beside dead hosts, slow targets and busy groups
	@$(BIN)/python -m bench neighbours --store $(STORE) $(ARGS)

.PHONY: bench-large
bench-large: $(STAMP) ## Measure beside ten million rows, and for ten minutes at a time (about an hour in all)
	@$(BIN)/python -m bench large --store $(STORE) $(ARGS)

.PHONY: soak
soak: $(STAMP) ## Run MINUTES=30 at 1,000 timers a second, kill -9 a process each minute, judge what grows; ARGS="--seed 2"
	@$(BIN)/python -m bench soak --minutes $(MINUTES) $(ARGS)

.PHONY: faults
faults: $(STAMP) ## Kill, pause and cut off processes at 500 timers a second, and write docs/faults.md; ARGS="--only NAME"
	@$(BIN)/python -m faults $(ARGS)

.PHONY: e2e
e2e: $(STAMP) ## Kill, roll and cut off pods in a real Kubernetes at 300 timers a second, the short form; ARGS="--only NAME"
	@$(BIN)/python -m e2e --short $(ARGS)

.PHONY: e2e-long
e2e-long: $(STAMP) ## All faults of pods (about half an hour), for docs/faults.md
	@$(BIN)/python -m e2e $(ARGS)

.PHONY: image
image: ## Build the image with docker as IMAGE=durable-timer:dev from BASE_IMAGE=python:3.13-slim
	@docker build --build-arg BASE_IMAGE=$(BASE_IMAGE) --build-arg REVISION=$$(git rev-parse HEAD) --tag $(IMAGE) .

##@ Keep it
.PHONY: check
check: lint typecheck arrows ## Run lint, typecheck and arrows

.PHONY: lint
lint: $(STAMP) ## Look for what ruff finds, formatting included
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --diff .

.PHONY: typecheck
typecheck: $(STAMP) ## Check all types with mypy, strictly
	@$(BIN)/mypy --no-error-summary $(TYPED)

.PHONY: arrows
arrows: $(STAMP) ## Check who may import whom (.importlinter)
	@$(BIN)/lint-imports --no-logo --no-cache

.PHONY: format
format: $(STAMP) ## Format the code and mend what ruff can mend safely
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

.PHONY: docs
docs: $(STAMP) ## Write the generated pages of docs/ anew
	@$(BIN)/python -m docs.generate

.PHONY: crds
crds: $(STAMP) ## Write the custom resource definitions anew from the models
	@$(BIN)/python -m docs.crds

.PHONY: manifests
manifests: crds ## Write what is made from the chart and for it anew: its definitions and words, manifests/ (needs Helm)
	@$(BIN)/python -m docs.chart

.PHONY: screenshots
screenshots: $(STAMP) ## Photograph the status page for the docs; needs Chromium
	@$(BIN)/python -m docs.screenshots

.PHONY: lock
lock: $(STAMP) ## Pin the newest versions that pyproject.toml allows in requirements.lock, and the image's from there
	@$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --only-binary :all: \
	  --generate-hashes --no-header --upgrade --quiet --output-file requirements.lock >/dev/null
	@$(BIN)/uv pip compile pyproject.toml --extra kubernetes --extra otel --extra postgresql $(LOCKED) \
	  --output-file requirements-runtime.lock >/dev/null
	@echo hatchling | $(BIN)/uv pip compile - $(LOCKED) --output-file requirements-build.lock >/dev/null

.PHONY: clean
clean: ## Remove .venv and all caches
	@rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed: make PYTHON=…" if sys.version_info < (3, 11) else 0)'
	@echo 'Installing what requirements.lock pins into .venv (once, about half a minute)'
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
