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
BUNDLES = {"i2b-demo-weights": 1.0}  # weight dataset → its share in the blend
BATCH_SIZE = 16  # photographs
SHOW_IMAGES = 6  # photographs to look at in the end

# %% [markdown]
# ## A submission from the first second
#
# Standard library only. Every file of every bundle is compared with its manifest now, not after forty minutes.

# %%
from kernel_src.common.competition import LIMIT_S, SLUG, SUBMISSION_FILE, TARGETS, TEST_CSV
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
from kernel_src.common.bundles import load_bundle

bundles = [load_bundle(folder) for folder in bundle_shares]
for bundle in bundles:
    print(
        f"{bundle.experiment.name}: {len(bundle.models)} folds of {bundle.experiment.backbone}, "
        f"{bundle.experiment.image_height_px}x{bundle.experiment.image_width_px} px, "
        f"out-of-fold R² {bundle.oof_r2:.4f}, trained from sources {bundle.source_sha256[:12]}"
    )

# %% [markdown]
# ## Predict

# %%
import numpy as np

from kernel_src.common.constraints import constrain
from kernel_src.common.dataset import PhotographFiles
from kernel_src.common.prediction import predict_grams
from kernel_src.common.symmetries import views
from kernel_src.common.tables import read_test, wide_to_long

test_table = read_test(competition / TEST_CSV)
test_paths = [competition / path for path in test_table["image_path"]]
print(f"{len(test_paths)} photographs in the test set")
predict_start_s = time.perf_counter()
blend = np.zeros((len(test_paths), len(TARGETS)))  # grams
for bundle, share in zip(bundles, bundle_shares.values(), strict=True):
    fold_grams = predict_grams(  # (folds, images, 5)
        bundle.models,
        PhotographFiles(test_paths, bundle.experiment.image_size_px),
        preprocessing=bundle.preprocessing,
        symmetries=views(bundle.experiment.tta, bundle.experiment.image_size_px),
        device=device,
        batch_size=BATCH_SIZE,
        after_first_batch=lambda seconds: check_plan(device, seconds, LIMIT_S - (time.perf_counter() - start_s)),
    )
    blend += share / sum(bundle_shares.values()) * fold_grams.mean(0)
predict_seconds = time.perf_counter() - predict_start_s

# %% [markdown]
# ## Submission

# %%
from kernel_src.common.files import write_json
from kernel_src.common.submission import submission_problems, write_submission

grams = constrain(blend, bundles[0].experiment.constraint)
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
