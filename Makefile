# Make only names commands; what they do is in build/ (python -m build --help).
PYTHON ?= python3
KIT := .venv/bin/python -m build
EXPERIMENT ?=
KERNEL ?= infer
DATA ?= out/demo/competition
WEIGHTS ?= $(if $(filter train,$(KERNEL)),out/demo/pretrained,out/demo/bundle)

.DEFAULT_GOAL := help
.PHONY: help setup demo build check rehearse lint test test-full bench

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: ## install everything into .venv (once; the other targets do it for you)
	@$(PYTHON) -m build.environment

demo: setup ## the whole path on a painted competition: train, bundle, infer, score (5 minutes)
	@$(KIT) demo

build: setup ## sources → notebooks/ (EXPERIMENT=v1 for one)
	@$(KIT) notebooks $(if $(EXPERIMENT),--experiment $(EXPERIMENT))

check: setup ## refuse stale, networked, oversized or mis-described notebooks
	@$(KIT) check

rehearse: setup ## run a built notebook as Kaggle would (EXPERIMENT=… KERNEL=infer DATA=… WEIGHTS=…)
	@$(KIT) rehearse --experiment $(or $(EXPERIMENT),demo) --kernel $(KERNEL) --data $(DATA) $(foreach w,$(WEIGHTS),--weights $(w))

lint: setup ## ruff, mypy, and nothing stale under notebooks/
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@$(KIT) check

test: setup ## all tests that fit into 8 minutes on 2 cores
	@.venv/bin/pytest -m "not full" -n 2

test-full: setup ## the long proofs and whole matrices (under 40 minutes)
	@.venv/bin/pytest -m full -n 2

bench: setup ## measure: stitching
	@.venv/bin/python bench/stitch.py
