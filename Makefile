# Make only names commands; what they do is in build/ (python -m build --help).
# A word with a NAME in capitals takes that variable's value, as typed (build/make.py has the few rules).
KIT = .venv/bin/python -m build.make $@ build

# Every variable goes on in the environment with its text as typed: neither make nor a shell expands it.
override TYPED := $(foreach v,$(.VARIABLES),$(if $(findstring command line,$(origin $v)),$v))
$(foreach v,$(TYPED),$(eval override $v := $$(value $v))$(eval export $v))
export TYPED MAKECMDGOALS

.DEFAULT_GOAL := help
.PHONY: help build check new demo rehearse infer notebook-run data train tune pseudo-label doctor preflight \
	push-data push-training queue push-inference logs status lab pull-kernel report scores setup setup-lab lock lint \
	test test-full bench

help: ## show this list
	@awk -F ':.*## |##@ ' '/^##@ / {printf "%s\n", $$2} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile
	@echo "EXPERIMENT is an experiment, or the slug of a script of yours (python -m build adopt --help)"
	@echo "COMPETITION=name says what is meant where EXPERIMENT does not; without both it is the kit's first one"
	@echo "Values arrive as typed, quotes and dollars too; a list takes quotes: WEIGHTS=\"'a folder' another\""

##@ Build

build: setup ## sources → notebooks/ (EXPERIMENT=v1 for one)
	@$(KIT) notebooks --experiment=EXPERIMENT

check: setup ## no notebook is stale, networked, oversized or mis-described
	@$(KIT) check

new: setup ## the package of a new competition, guessed from its files (COMPETITION=slug DATA=dir [METRIC=…] [NAME=…] [OVERWRITE=1])
	@$(KIT) new --slug=COMPETITION! --data=DATA --metric=METRIC --name=NAME --overwrite=OVERWRITE=1

##@ Run

demo: setup ## the whole path on a small competition: train, bundle, infer, score (COMPETITION=…; 3 to 8 minutes on 2 cores)
	@$(KIT) demo --competition=COMPETITION

rehearse: setup ## run a built notebook as Kaggle would (EXPERIMENT=… KERNEL=infer DATA=… WEIGHTS=… [MODELS="handle=dir …"])
	@$(KIT) rehearse --competition=COMPETITION --experiment=EXPERIMENT --kernel=KERNEL --data=DATA --weights=WEIGHTS... --model=MODELS...

infer: setup ## predict on this machine: EXPERIMENT=v5 DATA=… WEIGHTS="bundle …" → submission.csv
	@$(KIT) infer --competition=COMPETITION --experiment=EXPERIMENT --data=DATA --weights=WEIGHTS...

notebook-run: setup ## run a built notebook on this machine, on a mock that `make lab` finds, too (EXPERIMENT=… KERNEL=infer [RANDOM=1] …)
	@$(KIT) notebook-run --competition=COMPETITION --experiment=EXPERIMENT --kernel=KERNEL --data=DATA --weights=WEIGHTS... --random=RANDOM=1

##@ Train

data: setup ## the competition's files into data/, resumed, checked, unpacked safely (COMPETITION=…)
	@$(KIT) data --competition=COMPETITION

train: setup ## train on this machine: EXPERIMENT=v5 DATA=… [FOLDS=0,1] [SET="schedule.epochs=3 batch.size=4"] [PRETRAINED="dir …"]
	@$(KIT) train --competition=COMPETITION --experiment=EXPERIMENT --data=DATA --folds=FOLDS --set=SET --pretrained=PRETRAINED... --pseudo-labels=PSEUDO

tune: setup ## search hyper-parameters: EXPERIMENT=v5 DATA=… TRIALS=40 [SPACE="loss=SquaredError,Log1pError"] [PRETRAINED="dir …"] [STORAGE=url]
	@$(KIT) tune --competition=COMPETITION --experiment=EXPERIMENT --data=DATA --trials=TRIALS --set=SET --space=SPACE --storage=STORAGE --pretrained=PRETRAINED...

pseudo-label: setup ## label unweighed photographs: EXPERIMENT=v5 DATA=… WEIGHTS="bundle …" [IMAGES="dir …"], then train with PSEUDO=dir
	@$(KIT) pseudo-label --competition=COMPETITION --experiment=EXPERIMENT --data=DATA --bundle=WEIGHTS... --images=IMAGES... --set=SET

##@ Push

doctor: setup ## would a push work now? credentials, client, quota, submissions left, datasets, drift
	@$(KIT) doctor --competition=COMPETITION

preflight: setup ## five minutes on Kaggle: what its image really holds (STAGE=list: all that can be asked; AGAIN=1; ACCEPT=1 keeps it)
	@$(KIT) preflight --competition=COMPETITION --stage=STAGE --accept=ACCEPT=1 --again=AGAIN=1 --overwrite=OVERWRITE=1

push-data: setup ## a bundle (EXPERIMENT=…) or any flat folder (DIR=… SLUG=…) → private dataset, whole or not at all
	@$(KIT) push-data --competition=COMPETITION --experiment=EXPERIMENT --dir=DIR --slug=SLUG

# Options that both pushes take.
PUSH_OPTIONS = --competition=COMPETITION --experiment=EXPERIMENT! --no-wait=WAIT=0 --again=AGAIN=1 --overwrite=OVERWRITE=1 --params=PARAMS

push-training: setup ## train on Kaggle's GPUs and bundle what comes of it (EXPERIMENT=… SET="schedule.epochs=3" PARAMS= WAIT=0 AGAIN=1 OVERWRITE=1)
	@$(KIT) push-training $(PUSH_OPTIONS) --set=SET

queue: setup ## train several on Kaggle one after the other, over weeks if need be (EXPERIMENTS="v1 v2 v5"; none: what is left) [AGAIN=1]
	@$(KIT) queue EXPERIMENTS... --again=AGAIN=1

push-inference: setup ## sources → scored submission (EXPERIMENT=… PARAMS="BATCH_SIZE=8" MESSAGE=… SUBMIT=0 WAIT=0 AGAIN=1 OVERWRITE=1; adopted: WEIGHTS= MODELS=)
	@$(KIT) push-inference $(PUSH_OPTIONS) --no-submit=SUBMIT=0 --message=MESSAGE --weights=WEIGHTS... --model=MODELS...

logs: setup ## what a notebook printed on Kaggle, live while it runs (EXPERIMENT=… KERNEL=train VERSION=3)
	@$(KIT) logs --experiment=EXPERIMENT! --kernel=KERNEL --version=VERSION

status: setup ## experiments at a glance: notebooks, weights, submission; what runs, GPU hours and submissions left (COMPETITION=…)
	@$(KIT) status --competition=COMPETITION

##@ Edit

lab: setup ## JupyterLab on the built notebooks, each save is synced (EXPERIMENT=v1 opens that one) [PORT=…]
	@$(KIT) lab --experiment=EXPERIMENT --port=PORT

pull-kernel: setup ## what was edited on Kaggle → kernel_src/ (EXPERIMENT=… KERNEL=infer; YES=1 does not ask)
	@$(KIT) pull-kernel --competition=COMPETITION --experiment=EXPERIMENT! --kernel=KERNEL --yes=YES=1

##@ Judge

report: setup ## one page on an experiment: verdict, scores, curves, diagnostics, bundle, rehearsal (EXPERIMENT=name, run folder or CSV [DATA=dir])
	@$(KIT) report --competition=COMPETITION EXPERIMENT --data=DATA

scores: setup ## the ledger docs/scores.csv, refreshed, and CV against public as a picture
	@$(KIT) scores --competition=COMPETITION

##@ Work on the kit

setup: ## install everything into .venv, from build/locks (once; the other targets do it for you)
	@"$${PYTHON:-python3}" -m build.environment

setup-lab: ## install JupyterLab into .venv-lab (`make lab` does it for you)
	@"$${PYTHON:-python3}" -m build.environment lab

lock: ## pin every package anew in build/locks, with hashes, after a change in pyproject.toml (UPGRADE=1 takes the newest)
	@"$${PYTHON:-python3}" -m build.make $@ build.environment lock --upgrade=UPGRADE=1

lint: setup ## ruff, mypy, and nothing stale under notebooks/
	@.venv/bin/python -m ruff check .
	@.venv/bin/python -m ruff format --check .
	@.venv/bin/python -m mypy
	@$(KIT) check

# One thread for each of two processes: more would wait for each other, and tests that look at a clock with them.
test: setup ## the quick tests (5 minutes on 2 quick cores, up to 15 on slow ones)
	@OMP_NUM_THREADS=1 .venv/bin/python -m pytest -m "not full" -n 2 --dist worksteal

test-full: setup ## the long proofs and whole matrices (30 to 60 minutes on 2 cores)
	@OMP_NUM_THREADS=1 .venv/bin/python -m pytest -m full -n 2 --dist worksteal

bench: setup ## measure everything → out/bench/index.html, results.json (at most 25 minutes; PARTS=decode,cache QUICK=1)
	@.venv/bin/python -m build.make $@ bench.run --only=PARTS --quick=QUICK=1
