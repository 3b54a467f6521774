# Make only names commands; what they do is in build/ (python -m build --help).
PYTHON ?= python3
KIT := .venv/bin/python -m build
EXPERIMENT ?=
KERNEL ?= infer
DATA ?= out/demo/competition
WEIGHTS ?= $(if $(filter train,$(KERNEL)),out/demo/pretrained,out/demo/bundle)

.DEFAULT_GOAL := help
.PHONY: help setup setup-lab demo train infer pseudo-label tune build lab notebook-run pull-kernel check rehearse data push-weights push-data push-inference push-training \
	status scores report doctor preflight lint test test-full bundle-sizes bench

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: ## install everything into .venv (once; the other targets do it for you)
	@$(PYTHON) -m build.environment

setup-lab: ## install JupyterLab into .venv-lab (`make lab` does it for you)
	@$(PYTHON) -m build.environment lab

demo: setup ## the whole path on a painted competition: train, bundle, infer, score (5 minutes)
	@$(KIT) demo

train: setup ## train on this machine: EXPERIMENT=v5 DATA=… [FOLDS=0,1] [SET="epochs=3 batch_size=4"] [PRETRAINED="dir …"]
	@$(KIT) train --experiment $(or $(EXPERIMENT),demo) --data "$(DATA)" $(if $(FOLDS),--folds $(FOLDS)) $(if $(SET),--set "$(SET)") $(foreach p,$(PRETRAINED),--pretrained $(p)) $(if $(PSEUDO),--pseudo-labels $(PSEUDO))

infer: setup ## predict on this machine: EXPERIMENT=v5 DATA=… WEIGHTS="bundle …" → submission.csv
	@$(KIT) infer --experiment $(or $(EXPERIMENT),demo) --data "$(DATA)" $(foreach w,$(WEIGHTS),--weights $(w))

pseudo-label: setup ## label unweighed photographs: EXPERIMENT=v5 DATA=… WEIGHTS="bundle …" [IMAGES="dir …"], then train with PSEUDO=dir
	@$(KIT) pseudo-label --experiment $(or $(EXPERIMENT),demo) --data "$(DATA)" $(foreach w,$(WEIGHTS),--bundle $(w)) $(foreach i,$(IMAGES),--images $(i)) $(if $(SET),--set "$(SET)")

tune: setup ## search hyper-parameters: EXPERIMENT=v5 DATA=… TRIALS=40 [SPACE="loss=mse,log1p"] [PRETRAINED="dir …"] [STORAGE=url]
	@$(KIT) tune --experiment $(or $(EXPERIMENT),demo) --data "$(DATA)" --trials $(or $(TRIALS),20) $(if $(SET),--set "$(SET)") $(if $(SPACE),--space "$(SPACE)") $(if $(STORAGE),--storage "$(STORAGE)") $(foreach p,$(PRETRAINED),--pretrained $(p))

build: setup ## sources → notebooks/ (EXPERIMENT=v1 for one)
	@$(KIT) notebooks $(if $(EXPERIMENT),--experiment $(EXPERIMENT))

lab: setup ## JupyterLab on the built notebooks, saving brings edits home (EXPERIMENT=v1 opens that one) [PORT=…]
	@$(KIT) lab $(if $(EXPERIMENT),--experiment $(EXPERIMENT)) $(if $(PORT),--port $(PORT))

notebook-run: setup ## run a built notebook on this machine, on a mock that `make lab` finds, too (EXPERIMENT=… KERNEL=infer [RANDOM=1] …)
	@$(KIT) notebook-run --experiment $(or $(EXPERIMENT),demo) --kernel $(KERNEL) $(if $(filter-out file,$(origin DATA)),--data $(DATA)) $(if $(filter-out file,$(origin WEIGHTS)),$(foreach w,$(WEIGHTS),--weights $(w))) $(if $(filter 1,$(RANDOM)),--random)

pull-kernel: setup ## what was edited on Kaggle → kernel_src/ (EXPERIMENT=… KERNEL=infer)
	@$(KIT) pull-kernel --experiment $(or $(EXPERIMENT),demo) --kernel $(KERNEL)

check: setup ## refuse stale, networked, oversized or mis-described notebooks
	@$(KIT) check

rehearse: setup ## run a built notebook as Kaggle would (EXPERIMENT=… KERNEL=infer DATA=… WEIGHTS=… [MODELS="handle=dir …"])
	@$(KIT) rehearse --experiment $(or $(EXPERIMENT),demo) --kernel $(KERNEL) --data $(DATA) $(foreach w,$(WEIGHTS),--weights $(w)) $(foreach m,$(MODELS),--model $(m))

data: setup ## the competition's files into data/, resumed, checked, unpacked safely
	@$(KIT) data

push-weights: setup ## an experiment's bundle → private dataset, whole or not at all (EXPERIMENT=…)
	@$(KIT) push-weights --experiment $(or $(EXPERIMENT),'')

push-data: setup ## any flat folder → private dataset (DIR=… SLUG=…)
	@$(KIT) push-data --dir "$${DIR:?DIR=… is missing}" --slug "$${SLUG:?SLUG=… is missing}"

# Options that both pushes take.
PUSH_OPTIONS = --experiment $(or $(EXPERIMENT),'') $(if $(filter 0,$(WAIT)),--no-wait) $(if $(AGAIN),--again) $(if $(OVERWRITE),--overwrite)

push-inference: setup ## sources → scored submission (EXPERIMENT=… MESSAGE=… SUBMIT=0 WAIT=0 AGAIN=1 OVERWRITE=1)
	@$(KIT) push-inference $(PUSH_OPTIONS) $(if $(filter 0,$(SUBMIT)),--no-submit) $(if $(MESSAGE),--message "$$MESSAGE")

push-training: setup ## train on Kaggle's GPUs and bundle what comes of it (EXPERIMENT=… WAIT=0 AGAIN=1 OVERWRITE=1)
	@$(KIT) push-training $(PUSH_OPTIONS)

status: setup ## experiments at a glance: notebooks, weights, last submission, what was left open
	@$(KIT) status

scores: setup ## the ledger docs/scores.csv, refreshed, and CV against public as a picture
	@$(KIT) scores

report: setup ## one page on an experiment: verdict, scores, curves, diagnostics, bundle, rehearsal (EXPERIMENT=… [RUN=dir] [DATA=dir])
	@$(KIT) report $(or $(EXPERIMENT),demo) $(if $(RUN),--run "$(RUN)") $(if $(filter file,$(origin DATA)),,--data "$(DATA)")

doctor: setup ## would a push work now? credentials, client, quota, submissions left, datasets, drift
	@$(KIT) doctor

preflight: setup ## five minutes on Kaggle: what its image really holds (AGAIN=1; ACCEPT=1 takes it over)
	@$(KIT) preflight $(if $(ACCEPT),--accept) $(if $(AGAIN),--again) $(if $(OVERWRITE),--overwrite)

lint: setup ## ruff, mypy, and nothing stale under notebooks/
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@$(KIT) check

test: setup ## all tests that fit into 8 minutes on 2 cores
	@.venv/bin/pytest -m "not full" -n 2

test-full: setup ## the long proofs and whole matrices (40 minutes on 2 cores)
	@.venv/bin/pytest -m full -n 2

bundle-sizes: setup ## write, weigh and delete the bundles of v4, v5, v7, v8 → docs/bundle-sizes.md (3 minutes)
	@$(KIT) bundle-sizes

bench: setup ## measure everything → out/bench/index.html, results.json (at most 25 minutes; PARTS=decode,cache QUICK=1)
	@.venv/bin/python -m bench.run $(if $(PARTS),--only $(PARTS)) $(if $(QUICK),--quick)
