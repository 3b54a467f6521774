# %% [markdown]
# # The inference notebook
#
# > From attached bundles of weights to `submission.csv`, with the internet off. A complete, valid submission exists
# > from the first second; the last cell says what was computed, on what, and what went wrong.
#
# Attach the competition's data and every weight dataset named in the parameters.

# %%
import time

# %% [markdown]
# ## Parameters
#
# The one cell to edit.

# %% tags=["parameters"]
BUNDLES = {"i2b-demo-weights": 1.0}  # weight dataset → its share in the blend; several make an ensemble
STACK = {}  # instead of shares: {"weights": by target a number per bundle, "intercept_g": a number per target}
CONSTRAINT = ""  # how the identities are enforced after the blend; empty: as in the first bundle's experiment
# For loading, predicting and test-time training, if any; 0: what is left of nine hours, less a reserve.
PREDICT_SECONDS = 0
BATCH_SIZE = 16  # photographs at once; a GPU tries more, and halves it where its memory is too small
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
    "frozen",
    "hub_names",
    "inputs",
    "mixing",
    "pseudo_labels",
    "row_rules",
    "seed_constraints",
    "spread",
    "stack",
    "test_time_training",
)

# %% [markdown]
# ## A first submission
#
# Standard library only. Every file of every bundle is compared with its manifest now, not after forty minutes. Outside
# Kaggle's rerun every oddity is an error; in the rerun it is contained, and listed in the last cell.

# %%
from kernel_src.competitions.held_facts import facts
from kernel_src.inference.fallback import find_bundles, not_found, training_means, verify_bundles
from kernel_src.runtime.faults import Fault, FaultLog, is_rerun
from kernel_src.runtime.mounts import find_competition, kaggle_root, working_folder

RESERVE_S = 900  # of the nine hours: for what comes before and after the prediction, and for a slow disk
start_s = time.monotonic()
print(f"reads {kaggle_root() / 'input'}, writes {working_folder()}")
fault_log = FaultLog(strict=not is_rerun())
submission_csv = working_folder() / facts().submission_file
competition = find_competition(facts().slug, facts().find_by)
hidden_test = facts().read_test(competition, fault_log)
means, found, attached = facts().fallback, not_found(BUNDLES), not_found(BUNDLES)
with fault_log.contain_unexpected():
    found = find_bundles(BUNDLES, fault_log)
    means = training_means(found)
facts().save_first(submission_csv, hidden_test, means, fault_log)
with fault_log.contain_unexpected():
    attached = verify_bundles(found, fault_log)

# %% [markdown]
# ## Networks and devices
#
# What the prediction is made with. Every library is imported before an incompatible GPU is hidden.

# %%
import matplotlib.pyplot as plt

from kernel_src.competitions.held_answers import answers
from kernel_src.data.charts import photograph_gallery
from kernel_src.inference.bundle_recipes import constraint_of, read_recipes
from kernel_src.inference.inference import InferenceResult, Job, infer
from kernel_src.inference.report import inference_report, print_report
from kernel_src.runtime.device import check_device
from kernel_src.runtime.parts import optional_part

print(f"attached: {', '.join(BUNDLES)}; optional parts in this notebook: {', '.join(PARTS) or 'none'}")

# %% [markdown]
# ## Predict
#
# One process for each device. Each photograph is decoded once and its depth estimated once, for all folds and bundles.
# First every photograph gets one fold, then more folds, then more views; what does not fit into the time is left out,
# and `submission.csv` is at every moment the best that has been computed.

# %%
deadline_s = time.monotonic() + PREDICT_SECONDS if PREDICT_SECONDS else start_s + facts().limit_s - RESERVE_S
outcome, device, constraint = InferenceResult.of_means(len(hidden_test.photographs), means), None, CONSTRAINT
with fault_log.contain_unexpected():
    device = check_device()
    print(f"{device.count} x {device.name}, {'fp16' if device.half else 'fp32'}")
    if device.fault:
        fault_log.note(Fault(part="device", what=device.fault, fallback=f"predicted on {device.count} x {device.name}"))
    recipes = read_recipes(attached, fault_log)
    stack = optional_part("stack").stack_from_json(STACK, len(attached)) if STACK else None
    constraint = CONSTRAINT or constraint_of(recipes)
    print(f"{'stacked' if stack else 'blended by shares'}, then constraint {constraint}")
    outcome = infer(
        Job(
            image_ids=tuple(hidden_test.photographs),
            paths=tuple(hidden_test.photographs.values()),
            inputs=tuple(hidden_test.inputs.values()),
            recipes=tuple(recipes),
            damaged=tuple(bundle.damaged for bundle in attached),
            shares=tuple(bundle.share for bundle in attached),
            stack=stack,
            constraint=constraint,
            means=means,
            competition=competition,
        ),
        device,
        fault_log,
        deadline_s=deadline_s,
        batch_size=BATCH_SIZE,
        save=lambda values: facts().save_predictions(submission_csv, hidden_test, values, means),
    )
    facts().check_submission(submission_csv, hidden_test.row_ids)

# %% [markdown]
# ## Something to look at
#
# Not in the rerun, which nobody sees.

# %%
if not is_rerun():
    shown = list(hidden_test.photographs.values())[:SHOW_IMAGES]
    photograph_gallery(shown, [answers().caption(row) for row in outcome.values[:SHOW_IMAGES]])
    plt.show()

# %% [markdown]
# ## What was computed, and what was not

# %%
report_json = working_folder() / "inference_report.json"
with fault_log.contain_unexpected():
    report = inference_report(
        outcome,
        fault_log,
        device=device,
        seconds=time.monotonic() - start_s,
        settings={"bundles": BUNDLES, "stack": STACK, "constraint": constraint},
    )
    print_report(report, submission_csv, report_json)
