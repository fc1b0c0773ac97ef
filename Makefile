SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
DEMO ?= runs/demo
BENCH ?= runs/bench
DATA ?=
STUDIES ?=
SEEDS ?=
STAMP := $(VENV)/.up-to-date
QUALITY := $(VENV)/.quality
EMPTY ?=
FAST := --ignore=tests/docs --ignore=tests/core/test_report_browser.py -m "not real and not gpu and not browser"

export PATH := $(abspath $(VENV))/bin:$(PATH)
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: help setup test lint format docs demo bench bench-full tables dist check-dist coverage audit mutants clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20
	@echo "The first call installs what is needed into $(VENV); .ci/setup lists the variables that steer it."

setup: $(STAMP)  ## make the environment; every other target does it when needed

$(STAMP): pyproject.toml .ci/constraints.txt .ci/setup
	@.ci/setup "$(VENV)"
	@touch "$@"

test: lint  ## lint, types and all tests: what CI runs
	python -m pytest -q

lint: $(STAMP)  ## style and types
	ruff check
	ruff format --check
	pyright

format: $(STAMP)  ## write the style
	ruff check --fix
	ruff format

docs: $(STAMP)  ## the documentation, in site/; python -m http.server -d site shows it, search included
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet
	@echo "The documentation is in site/index.html"

demo: $(STAMP)  ## train on the built-in phantom, register its held-out pairs, draw one
	@rm -rf "$(DEMO)"
	cst train --backend points --fold 3 --preset quick --out "$(DEMO)"
	cst evaluate --backend points --model "$(DEMO)" --fold 3 --picture "$(DEMO)/before-and-after.png"
	@test -s "$(DEMO)/before-and-after.png"
	@echo "The picture is in $(DEMO)/before-and-after.png"

bench: $(STAMP)  ## the phantoms, self-training beside its rivals: minutes; prints the tables
	python -m benchmarks.bench small --out "$(BENCH)"

bench-full: $(STAMP)  ## the same on real data, DATA=FOLDER [STUDIES=lungs] [SEEDS=0]: hours to days; call again to go on
	python -m benchmarks.bench full --data "$(DATA)" --out "$(BENCH)-full" \
		$(if $(STUDIES),--studies $(STUDIES)) $(if $(SEEDS),--seeds $(SEEDS))

tables: $(STAMP)  ## docs/results/ from benchmarks/results/
	python -m benchmarks.tables
	python -m benchmarks.tables.figure_stages
	python -m benchmarks.tables.figure_scaling

$(QUALITY): $(STAMP)
	@python -m pip install --quiet --disable-pip-version-check --constraint .ci/constraints.txt -e ".[quality]"
	@touch "$@"

dist: $(QUALITY)  ## wheel and sdist, in dist/
	@rm -rf build dist cst.egg-info
	PIP_CONSTRAINT=.ci/constraints.txt PIP_BUILD_CONSTRAINT=.ci/constraints.txt python -m build --outdir dist .

check-dist: dist  ## install the wheel into an empty environment (EMPTY=FOLDER keeps it), and use it from there
	@made="$(EMPTY)"; [ -n "$$made" ] || { made=$$(mktemp -d); trap 'rm -rf "$$made"' EXIT; }; \
	.ci/setup "$$made" "$$(ls "$(CURDIR)"/dist/cst-*.whl)" && python .ci/check_dist.py dist "$$made"

coverage: $(QUALITY)  ## lines and branches that the fast tests reach
	python -m pytest -q $(FAST) --cov --cov-report=term:skip-covered

audit: $(QUALITY)  ## known vulnerabilities of all pinned packages; fails where one cannot be looked up
	pip-audit --requirement .ci/constraints.txt --no-deps --disable-pip --strict

mutants: $(QUALITY)  ## whether tests notice when field, coupled convex or belief propagation is changed
	python -m benchmarks.mutation --json benchmarks/results/mutation.json

clean:  ## remove the environment and all caches; runs stay
	rm -rf "$(VENV)" build dist mutants site *.egg-info .pytest_cache .ruff_cache .hypothesis
	find cst_core cst_image cst_points benchmarks docs tests -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
