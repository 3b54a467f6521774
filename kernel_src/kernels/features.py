# %% [markdown]
# # Frozen features
#
# > One run of this notebook leaves `run/features.npz`: what a pretrained encoder sees in every photograph of the
# > training set, at several sizes, in several layers, pooled in several ways. Nothing is trained here; on your machine
# > `python -m build regress` fits regressors on it. Internet stays off.
#
# Attach the competition's data and the encoder's weights, as a dataset or a Kaggle Model. A long run stops itself
# before Kaggle does: run the notebook again with its own output attached, and it goes on where it stopped.

# %%
import time
import traceback

session_start_s = time.monotonic()

# %% [markdown]
# ## Parameters
#
# The one cell to edit.

# %% tags=["parameters"]
EXPERIMENT = "frozen_dinov2"  # which recipe of the list below
CHANGES = {}  # fields of the recipe to change for this run, e.g. {"encoder.layers": (1, 4)}
BATCH_SIZE = 8  # photographs at once; halved where the memory of a GPU is too small
PARTS = ("biomass", "hub_names", "spread")  # the optional parts in this notebook; the build chooses
SOURCE_SHA256 = ""  # of the sources that this was built from; filled in by the build, recorded in the features

# %% [markdown]
# ## Settings
#
# The recipe, and where Kaggle put the data.

# %%
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.competitions.held_rules import rules
from kernel_src.recipes.changes import changed
from kernel_src.recipes.parts import parts_to_extract
from kernel_src.recipes.predictor import require_suited
from kernel_src.runtime.device import check_device
from kernel_src.runtime.memory import keep_freed_memory
from kernel_src.runtime.mounts import find_competition, kaggle_root, working_folder
from kernel_src.runtime.parts import require_parts
from kernel_src.runtime.provenance import note_sources
from kernel_src.runtime.weight_sources import find_weights
from kernel_src.training.feature_run import (
    CHUNKS,
    FEATURES_FILE,
    FeatureTask,
    continue_previous_features,
    finish_features,
    make_chunks,
)
from kernel_src.training.launch import refuse_fault
from kernel_src.training.session import session_of

print(f"reads {kaggle_root() / 'input'}, writes {working_folder()}")
experiment = changed(EXPERIMENTS[EXPERIMENT], CHANGES)
require_parts(parts_to_extract(experiment), PARTS)
require_suited(experiment, facts())
competition = find_competition(facts().slug, facts().train_csv)
run_folder = working_folder() / "run"
train_table = rules().read_train(competition / facts().train_csv)
task = FeatureTask(
    experiment=experiment,
    photographs={
        image_id: competition / path
        for image_id, path in zip(train_table["image_id"], train_table["image_path"], strict=True)
    },
    weights=find_weights(experiment.encoder.weights),
    folder=run_folder,
)
print(f"experiment {experiment.name}: {experiment}")
print(f"data: {len(task.photographs)} photographs in {competition}\nweights: {task.weights}\nresult: {run_folder}")

# %% [markdown]
# ## Device
#
# Every library has been imported: an incompatible GPU is hidden only now.

# %%
keep_freed_memory()
device = check_device()
print(f"{device.count} x {device.name}, {'fp16 where it is precise enough' if device.half else 'fp32'}")
refuse_fault(device)
if device.fault:
    print(f"NOT USED: {device.fault}")

# %% [markdown]
# ## Features
#
# Each device has its share of the photographs, in a process of its own. A run of the same recipe among the inputs is
# taken up. Whatever ends the run early, the notebook ends well if something is computed: of one that fails Kaggle keeps
# nothing.

# %%
if previous_run := continue_previous_features(kaggle_root() / "input", run_folder, experiment):
    print(f"going on with {previous_run}, {len(task.chunks_left)} of {len(task.chunks)} chunks are left")
if task.chunks_left:
    note_sources(run_folder, SOURCE_SHA256)
start_s = time.perf_counter()
try:
    make_chunks(task, device, session_of(experiment, session_start_s), batch_size=BATCH_SIZE)
except RuntimeError as error:
    if not list(run_folder.glob(CHUNKS)):
        raise  # nothing is computed, so there is nothing to keep
    traceback.print_exception(error)
print(f"computed in {time.perf_counter() - start_s:.0f} s")
if task.chunks_left:
    print(
        f"NOT FINISHED: {len(task.chunks_left)} of {len(task.chunks)} chunks are left. Save this version, attach its "
        "output to the notebook (Add Input, Your Work) and run it again: it goes on here"
    )
    raise SystemExit(0)  # papermill, which runs notebooks on Kaggle, counts this as a success and keeps the output

# %% [markdown]
# ## Result

# %%
made_by = finish_features(task)
print(
    f"{run_folder / FEATURES_FILE}: {made_by['features']} features of {made_by['images']} photographs, "
    f"{experiment.encoder.timm}, {made_by['device']} ({made_by['precision']})"
)
print("\n".join(made_by["blocks"]))
