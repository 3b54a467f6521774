# Make only names commands; what they do is in build/ (python -m build --help).
# A word with a NAME in capitals takes that variable's value, as typed (build/make.py has the few rules).
KIT = .venv/bin/python -m build.make $@ build

# Every variable goes on in the environment with its text as typed: neither make nor a shell expands it.
override TYPED := $(foreach v,$(.VARIABLES),$(if $(findstring command line,$(origin $v)),$v))
$(foreach v,$(TYPED),$(eval override $v := $$(value $v))$(eval export $v))
export TYPED MAKECMDGOALS

.DEFAULT_GOAL := help
.PHONY: help setup setup-lab demo train infer pseudo-label tune build lab notebook-run pull-kernel check rehearse data push-weights push-data push-inference push-training \
	status scores report doctor preflight lint test test-full bundle-sizes bench

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile
	@echo "Values arrive as typed, quotes and dollars too; a list takes quotes: WEIGHTS=\"'a folder' another\""

setup: ## install everything into .venv (once; the other targets do it for you)
	@"$${PYTHON:-python3}" -m build.environment

setup-lab: ## install JupyterLab into .venv-lab (`make lab` does it for you)
	@"$${PYTHON:-python3}" -m build.environment lab

demo: setup ## the whole path on a painted competition: train, bundle, infer, score (8 minutes on busy cores)
	@$(KIT) demo

train: setup ## train on this machine: EXPERIMENT=v5 DATA=… [FOLDS=0,1] [SET="epochs=3 batch_size=4"] [PRETRAINED="dir …"]
	@$(KIT) train --experiment=EXPERIMENT:demo --data=DATA:out/demo/competition --folds=FOLDS --set=SET --pretrained=PRETRAINED... --pseudo-labels=PSEUDO

infer: setup ## predict on this machine: EXPERIMENT=v5 DATA=… WEIGHTS="bundle …" → submission.csv
	@$(KIT) infer --experiment=EXPERIMENT:demo --data=DATA:out/demo/competition --weights=WEIGHTS...:out/demo/bundle

pseudo-label: setup ## label unweighed photographs: EXPERIMENT=v5 DATA=… WEIGHTS="bundle …" [IMAGES="dir …"], then train with PSEUDO=dir
	@$(KIT) pseudo-label --experiment=EXPERIMENT:demo --data=DATA:out/demo/competition --bundle=WEIGHTS...:out/demo/bundle --images=IMAGES... --set=SET

tune: setup ## search hyper-parameters: EXPERIMENT=v5 DATA=… TRIALS=40 [SPACE="loss=mse,log1p"] [PRETRAINED="dir …"] [STORAGE=url]
	@$(KIT) tune --experiment=EXPERIMENT:demo --data=DATA:out/demo/competition --trials=TRIALS --set=SET --space=SPACE --storage=STORAGE --pretrained=PRETRAINED...

build: setup ## sources → notebooks/ (EXPERIMENT=v1 for one)
	@$(KIT) notebooks --experiment=EXPERIMENT

lab: setup ## JupyterLab on the built notebooks, saving brings edits home (EXPERIMENT=v1 opens that one) [PORT=…]
	@$(KIT) lab --experiment=EXPERIMENT --port=PORT

notebook-run: setup ## run a built notebook on this machine, on a mock that `make lab` finds, too (EXPERIMENT=… KERNEL=infer [RANDOM=1] …)
	@$(KIT) notebook-run --experiment=EXPERIMENT:demo --kernel=KERNEL --data=DATA --weights=WEIGHTS... --random=RANDOM=1

pull-kernel: setup ## what was edited on Kaggle → kernel_src/ (EXPERIMENT=… KERNEL=infer; YES=1 does not ask)
	@$(KIT) pull-kernel --experiment=EXPERIMENT! --kernel=KERNEL --yes=YES=1

check: setup ## refuse stale, networked, oversized or mis-described notebooks
	@$(KIT) check

rehearse: setup ## run a built notebook as Kaggle would (EXPERIMENT=… KERNEL=infer DATA=… WEIGHTS=… [MODELS="handle=dir …"])
	@$(KIT) rehearse --experiment=EXPERIMENT:demo --kernel=KERNEL --data=DATA:out/demo/competition --weights=WEIGHTS...:$(if $(filter train,$(value KERNEL)),out/demo/pretrained,out/demo/bundle) --model=MODELS...

data: setup ## the competition's files into data/, resumed, checked, unpacked safely
	@$(KIT) data

push-weights: setup ## an experiment's bundle → private dataset, whole or not at all (EXPERIMENT=…)
	@$(KIT) push-weights --experiment=EXPERIMENT!

push-data: setup ## any flat folder → private dataset (DIR=… SLUG=…)
	@$(KIT) push-data --dir=DIR! --slug=SLUG!

# Options that both pushes take.
PUSH_OPTIONS = --experiment=EXPERIMENT! --no-wait=WAIT=0 --again=AGAIN=1 --overwrite=OVERWRITE=1

push-inference: setup ## sources → scored submission (EXPERIMENT=… MESSAGE=… SUBMIT=0 WAIT=0 AGAIN=1 OVERWRITE=1)
	@$(KIT) push-inference $(PUSH_OPTIONS) --no-submit=SUBMIT=0 --message=MESSAGE

push-training: setup ## train on Kaggle's GPUs and bundle what comes of it (EXPERIMENT=… WAIT=0 AGAIN=1 OVERWRITE=1)
	@$(KIT) push-training $(PUSH_OPTIONS)

status: setup ## experiments at a glance: notebooks, weights, last submission, what was left open
	@$(KIT) status

scores: setup ## the ledger docs/scores.csv, refreshed, and CV against public as a picture
	@$(KIT) scores

report: setup ## one page on an experiment: verdict, scores, curves, diagnostics, bundle, rehearsal (EXPERIMENT=… [RUN=dir] [DATA=dir])
	@$(KIT) report EXPERIMENT:demo --run=RUN --data=DATA

doctor: setup ## would a push work now? credentials, client, quota, submissions left, datasets, drift
	@$(KIT) doctor

preflight: setup ## five minutes on Kaggle: what its image really holds (AGAIN=1; ACCEPT=1 takes it over)
	@$(KIT) preflight --accept=ACCEPT=1 --again=AGAIN=1 --overwrite=OVERWRITE=1

lint: setup ## ruff, mypy, and nothing stale under notebooks/
	@.venv/bin/python -m ruff check .
	@.venv/bin/python -m ruff format --check .
	@.venv/bin/python -m mypy
	@$(KIT) check

# One thread for each of two processes: more would wait for each other, and tests that look at a clock with them.
test: setup ## the quick tests (about 6 minutes on 2 cores)
	@OMP_NUM_THREADS=1 .venv/bin/python -m pytest -m "not full" -n 2 --dist worksteal

test-full: setup ## the long proofs and whole matrices (about 50 minutes on 2 cores, estimated)
	@OMP_NUM_THREADS=1 .venv/bin/python -m pytest -m full -n 2 --dist worksteal

bundle-sizes: setup ## write, weigh and delete the bundles of v4, v5, v7, v8 → docs/bundle-sizes.md (3 minutes)
	@$(KIT) bundle-sizes

bench: setup ## measure everything → out/bench/index.html, results.json (at most 25 minutes; PARTS=decode,cache QUICK=1)
	@.venv/bin/python -m build.make $@ bench.run --only=PARTS --quick=QUICK=1
