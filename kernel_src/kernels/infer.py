# %% [markdown]
# # CSIRO Image2Biomass: inference
#
# > From attached bundles of weights to `submission.csv`, with the internet off. A complete, valid submission exists
# > from the first second; the last cell says what was computed and on what.
#
# Attach the competition's data and every weight dataset named in the cell below.

# %%
import time
from pathlib import Path

# %% tags=["parameters"]
BUNDLES = {"i2b-demo-weights": 1.0}  # weight dataset → its share in the blend; several make an ensemble
STACK = {}  # instead of shares: {"weights": five rows of one number per bundle, "intercept_g": five grams}
CONSTRAINT = ""  # how the identities are enforced after the blend; empty: as the first bundle's experiment says
PSEUDO_LABEL_SECONDS = 0  # to refine the heads on the test set's own confident predictions; 0: not done
BATCH_SIZE = 16  # photographs
SHOW_IMAGES = 6  # photographs to look at in the end

# %% [markdown]
# ## A submission from the first second
#
# Standard library only. Every file of every bundle is compared with its manifest now, not after forty minutes.

# %%
from kernel_src.common.competition import LIMIT_S, SLUG, SUBMISSION_FILE, TEST_CSV
from kernel_src.common.fallback import training_means, write_fallback
from kernel_src.common.manifest import MANIFEST_FILE, verify_manifest
from kernel_src.common.mounts import find_competition, find_dataset, working_folder

start_s = time.perf_counter()
competition = find_competition(SLUG, TEST_CSV)
submission_csv = working_folder() / SUBMISSION_FILE
bundle_shares: dict[Path, float] = {}
for slug, share in BUNDLES.items():
    bundle_shares[find_dataset(slug, MANIFEST_FILE)] = share
sample_ids = write_fallback(submission_csv, competition / TEST_CSV, training_means(bundle_shares))
for bundle_folder in bundle_shares:
    manifest = verify_manifest(bundle_folder)
    print(f"{bundle_folder}: {len(manifest['files'])} files verified")
print(f"{submission_csv}: {len(sample_ids)} rows of training means, to be replaced")

# %% [markdown]
# ## Device

# %%
from kernel_src.common.device import check_device, check_plan
from kernel_src.common.memory import keep_freed_memory

keep_freed_memory()
device = check_device()
print(f"{device.count} x {device.name}, {'fp16' if device.half else 'fp32'}")
if device.fault:
    print(f"WARNING, predicting on the CPU: {device.fault}")

# %% [markdown]
# ## Model

# %%
from kernel_src.common.blend import blend, stack_from_json
from kernel_src.common.bundles import load_bundles

bundles = load_bundles(bundle_shares)
stack = stack_from_json(STACK, len(bundles)) if STACK else None
constraint = CONSTRAINT or bundles[0].experiment.constraint
for bundle, share in zip(bundles, bundle_shares.values(), strict=True):
    recipe = bundle.experiment
    print(
        f"{recipe.name}: {len(bundle.models)} folds of {recipe.backbone}, "
        f"{recipe.image_height_px}x{recipe.image_width_px} px, views {recipe.tta}, "
        f"{f'depth {recipe.depth_fusion}, {recipe.depth_views}' if bundle.depth else 'no depth'}, "
        f"share {share:g}, out-of-fold R² {bundle.oof_r2:.4f}, trained from sources {bundle.source_sha256[:12]}"
    )
print(f"{'stacked' if stack else 'blended by shares'}, then constraint {constraint}")

# %% [markdown]
# ## Predict
#
# One pass for all bundles: each photograph is decoded once, its depth estimated once.

# %%
from kernel_src.common.bundle_prediction import predict_bundles
from kernel_src.common.tables import read_test, wide_to_long

test_table = read_test(competition / TEST_CSV)
test_paths = [competition / path for path in test_table["image_path"]]
print(f"{len(test_paths)} photographs in the test set")
predict_start_s = time.perf_counter()
bundle_grams = predict_bundles(  # (folds, images, 5) per bundle
    bundles,
    test_paths,
    device=device,
    batch_size=BATCH_SIZE,
    after_first_batch=lambda seconds: check_plan(device, seconds, LIMIT_S - (time.perf_counter() - start_s)),
)
predict_seconds = time.perf_counter() - predict_start_s

# %% [markdown]
# ## Pseudo-labels
#
# Off unless asked for in the cell of parameters; nobody has shown here that it raises the score.

# %%
from kernel_src.common.refinement import refine_on_test

SAVING_S = 600  # kept free for what comes after
if PSEUDO_LABEL_SECONDS:
    left_s = LIMIT_S - SAVING_S - (time.perf_counter() - start_s)
    bundle_grams = refine_on_test(
        bundles,
        test_paths,
        bundle_grams,
        device=device,
        batch_size=BATCH_SIZE,
        budget_s=min(PSEUDO_LABEL_SECONDS, left_s),
    )

# %% [markdown]
# ## Submission

# %%
from kernel_src.common.constraints import constrain
from kernel_src.common.files import write_json
from kernel_src.common.submission import submission_problems, write_submission

blended = blend([fold_grams.mean(0) for fold_grams in bundle_grams], list(bundle_shares.values()), stack)
grams = constrain(blended, constraint)
write_submission(submission_csv, sample_ids, wide_to_long(test_table["image_id"].tolist(), grams))
if problems := submission_problems(submission_csv, sample_ids):
    raise ValueError("\n".join(problems))
write_json(
    working_folder() / "inference_report.json",
    {
        "images": len(test_paths),
        "predict_seconds": round(predict_seconds, 3),
        "seconds": round(time.perf_counter() - start_s, 3),
        "device": device.as_json(),
        "bundles": {folder.name: share for folder, share in bundle_shares.items()},
        "stack": STACK,
        "constraint": constraint,
    },
)
print(f"{submission_csv}: {len(sample_ids)} rows, valid, predicted in {predict_seconds:.1f} s on {device.name}")

# %% [markdown]
# ## Something to look at

# %%
import matplotlib.pyplot as plt

from kernel_src.common.charts import grams_caption, photograph_gallery

photograph_gallery(test_paths[:SHOW_IMAGES], [grams_caption(row) for row in grams[:SHOW_IMAGES]])
plt.show()
