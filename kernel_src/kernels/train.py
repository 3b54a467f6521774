# %% [markdown]
# # The training notebook
#
# > One run of this notebook leaves a folder `run/` with the weights of every fold, the out-of-fold predictions and a
# > score that a submission can be compared with. Internet stays off.
#
# Attach the competition's data and, where the experiment needs them, the datasets with the pretrained weights, the
# depth model, external data and pseudo-labels. A long training stops itself before Kaggle does: run the notebook again
# with this notebook's own output attached, and it goes on where it stopped.

# %%
import time
from pathlib import Path

session_start_s = time.monotonic()

# %% [markdown]
# ## Parameters
#
# The one cell to edit.

# %% tags=["parameters"]
EXPERIMENT = "demo"  # which recipe of the list below
CHANGES = {}  # fields of the recipe to change for this run, e.g. {"schedule.epochs": 3}
PSEUDO_SHARE = 0.5  # of the pseudo-labelled photographs, those that the folds agree on best
SHOW_IMAGES = 6  # photographs to look at in the end
# The optional parts in this notebook; the build chooses.
PARTS = (
    "auxiliary",
    "biomass",
    "camera_marks",
    "classes",
    "cropping",
    "depth",
    "evidence",
    "external",
    "hub_names",
    "inputs",
    "mixing",
    "pseudo_labels",
    "row_rules",
    "seed_constraints",
)
SOURCE_SHA256 = ""  # of the sources that this was built from; filled in by the build, recorded in the bundle

# %% [markdown]
# ## Settings
#
# The recipe, and where Kaggle put the data.

# %%
import tempfile
import traceback

from kernel_src.competitions.held_answers import answers
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.competitions.held_rules import rules
from kernel_src.data.charts import photograph_gallery
from kernel_src.data.score_charts import residuals_by_group, scatter_per_target
from kernel_src.recipes.changes import changed
from kernel_src.recipes.parts import parts_to_compete, parts_to_train
from kernel_src.recipes.predictor import require_suited
from kernel_src.runtime.device import check_device
from kernel_src.runtime.memory import keep_freed_memory
from kernel_src.runtime.mounts import find_competition, kaggle_root, working_folder
from kernel_src.runtime.parts import optional_part, require_parts
from kernel_src.runtime.provenance import note_sources
from kernel_src.runtime.weight_sources import find_weights
from kernel_src.training.launch import fold_rounds, launch, refuse_fault
from kernel_src.training.resumption import continue_previous_run, hand_over
from kernel_src.training.runs import finish_run, folds_left, missing_folds, predict_out_of_fold, train_run
from kernel_src.training.session import session_of

print(f"reads {kaggle_root() / 'input'}, writes {working_folder()}")
experiment = changed(EXPERIMENTS[EXPERIMENT], CHANGES)
require_parts([*parts_to_compete(facts()), *parts_to_train(experiment)], PARTS)
require_suited(experiment, facts())
competition = find_competition(facts().slug, facts().train_csv)
weights_file: Path | None = None
if experiment.encoder.weights:
    weights_file = find_weights(experiment.encoder.weights)
depth_folder = find_weights(experiment.depth.weights).parent if experiment.depth else None
run_folder = working_folder() / "run"
print(f"experiment {experiment.name}: {experiment}")
print(f"data: {competition}\nstarting weights: {weights_file or 'random'}\nresult: {run_folder}")
print(f"depth model: {depth_folder or 'none'}")

# %% [markdown]
# ## Photographs and labels

# %%
train_table = rules().read_train(competition / facts().train_csv)
print(f"{len(train_table)} photographs in {len(set(rules().group_labels(train_table)))} {rules().group_name}s")
if experiment.data.drop:
    print(*rules().drop_lines(experiment.data.drop, train_table), sep="\n")
external_folder = None
if experiment.data.external:
    external_folder = optional_part("external").find_external(experiment.data.external.dataset)
print(f"external data: {external_folder or 'none'}")
pseudo_labels = None
if experiment.data.pseudo and experiment.data.pseudo.dataset:
    pseudo_labels = optional_part("pseudo_labels").find_pseudo_labels(experiment.data.pseudo.dataset, PSEUDO_SHARE)
train_table.describe().round(1)

# %% [markdown]
# ## Device
#
# Every library has been imported: an incompatible GPU is hidden only now.

# %%
import matplotlib.pyplot as plt

keep_freed_memory()
device = check_device()
print(f"{device.count} x {device.name}, {'fp16' if device.half else 'fp32'}")
refuse_fault(device)
if device.fault:
    print(f"NOT USED: {device.fault}")

# %% [markdown]
# ## Train
#
# A run of the same recipe among the inputs is continued; what it has trained is kept. Checkpoints lie in a scratch
# folder until this session ends. Whatever ends the training early, the notebook ends well if something is trained: of
# one that fails Kaggle keeps nothing.

# %%
scratch_folder = Path(tempfile.gettempdir())  # Kaggle keeps only the working folder
cache_folder, checkpoints_folder = scratch_folder / "photographs", scratch_folder / "checkpoints"
if previous_run := continue_previous_run(kaggle_root() / "input", run_folder, experiment, checkpoints_folder):
    print(f"going on with {previous_run}")
start_s = time.perf_counter()
session = session_of(experiment, session_start_s)
todo = folds_left(experiment, train_table, run_folder)
if todo:
    note_sources(run_folder, SOURCE_SHA256)
crash: RuntimeError | None = None
try:
    for number, (spread, round_folds) in enumerate(fold_rounds(experiment, todo, device.count)):
        if number and session.left_s <= 0:
            break
        if device.count > 1:
            how = "each trains folds of its own" if spread == "folds" else "each takes its part of every batch"
            print(f"folds {', '.join(map(str, round_folds))} on {device.count} devices: {how}")
        launch(
            train_run,
            device,
            spread=spread,
            folds=round_folds,
            session=session,
            experiment=experiment,
            train=train_table,
            competition=competition,
            starting_weights=weights_file,
            folder=run_folder,
            cache=cache_folder,
            scratch=checkpoints_folder,
            depth_folder=depth_folder,
            external_folder=external_folder,
            pseudo_labels=pseudo_labels,
        )
except RuntimeError as error:
    crash = error
finally:
    for line in hand_over(checkpoints_folder, run_folder):
        print(line)
print(f"trained in {time.perf_counter() - start_s:.0f} s")
given_up = missing_folds(experiment, train_table, run_folder)
for fold, why in given_up.items():
    print(f"NOT WHOLE: fold {fold} is given up: {why}")
if crash is not None:
    if not list(run_folder.glob("*.safetensors")):
        raise crash  # nothing is trained, so there is nothing to keep
    traceback.print_exception(crash)
if unfinished := folds_left(experiment, train_table, run_folder):
    print(
        f"NOT FINISHED: folds {', '.join(map(str, unfinished))}. Save this version, attach its output to the notebook "
        "(Add Input, Your Work) and run it again: it goes on here"
    )
    raise SystemExit(0)  # papermill, which runs notebooks on Kaggle, counts this as a success and keeps the output
if given_up and not list(run_folder.glob("fold*.safetensors")):
    raise RuntimeError("not one fold could be trained, for the reasons above: change the recipe")

# %% [markdown]
# ## Result
#
# Every photograph is predicted by the fold that has not seen it. The floors: what predicting means alone would score.

# %%
oof_table = predict_out_of_fold(
    experiment,
    train_table,
    competition,
    run_folder,
    cache_folder,
    device,
    depth_folder=depth_folder,
    missing=tuple(given_up),
)
run_config = finish_run(experiment, train_table, oof_table, run_folder, depth_folder, device)
oof_score = run_config["oof"]
metric_name = oof_score["metric"]
print(f"out-of-fold {metric_name} {oof_score['score']:.4f} on {oof_score['images']} photographs")
if given_up:
    print(f"NOT WHOLE: the photographs of folds {', '.join(map(str, given_up))} are not scored")
if caveat := rules().caveat(train_table):
    print(f"WARNING: {caveat}")
for floor_name, floor_score in rules().floors(train_table).items():
    print(f"floor: {floor_name} {metric_name} {floor_score:.4f}")

# %% [markdown]
# ## Something to look at

# %%
seen_table = train_table.set_index("image_id").loc[oof_table["image_id"]]
truth = rules().target_array(seen_table)
predicted = answers().finished(rules().target_array(oof_table), experiment.predict.constraint)
if facts().are_classes:
    optional_part("classes").confusion_matrix(truth, predicted)
else:
    scatter_per_target(truth, predicted)
if shown_by := rules().shown_by:
    shown_names = seen_table[shown_by].to_numpy(str)
    if facts().are_classes:
        optional_part("classes").hits_by_group(truth, predicted, shown_names, f"right classes per {shown_by}")
    else:
        residuals_by_group(truth, predicted, shown_names, f"residuals per {shown_by}")
photograph_gallery(
    [competition / path for path in seen_table["image_path"][:SHOW_IMAGES]],
    [answers().caption(predicted[i], truth[i]) for i in range(min(SHOW_IMAGES, len(seen_table)))],
)
plt.show()
