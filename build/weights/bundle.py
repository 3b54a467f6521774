"""A training run becomes a bundle: the flat folder that is uploaded as a Kaggle dataset.

From `run/` (fp32 weights, config, out-of-fold predictions) only what inference needs goes along, at half precision:
`fold<k>.safetensors`, `config.json`, `oof.csv`, `README.md` (the model card), `manifest.json` (bytes and sha256 of
each file) and `dataset-metadata.json`; where the experiment needs depth, the frozen model goes along once, not once per
fold. What `python -m build regress` leaves is a run as well: its regressor goes along as it is, with the report.
`kernel_src/bundle/bundles.py` is the reading side and refuses whatever does not fit.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build.core.bundle_files import file_entry, missing_folds_text
from build.core.errors import CheckFailed, Problem, UsageError
from build.scores.cross_validation import TRAIN_TABLES, cross_validation, is_frozen
from build.weights.file_kinds import check_kind
from kernel_src.runtime.files import BUNDLE_FORMAT, CONFIG_FILE, sha256_of, write_json, write_text
from kernel_src.runtime.manifest import MANIFEST_FILE, read_bundle_json

if TYPE_CHECKING:
    import torch

REGRESS_REPORT = "regress.json"  # beside a regressor: how it was chosen, and what it scored
DEPTH_MARK = ".neck.fusion_stage."  # in the names of a depth model's tensors, and in those of no backbone


@dataclass(frozen=True, kw_only=True)
class BundleReport:
    """What was made, and what half precision cost."""

    folder: str
    files: int
    halved: bool  # a regressor keeps its precision
    bytes_run: int  # weights as the training left them, fp32, with the depth model if there is one
    bytes_bundle: int  # everything that is uploaded
    source_sha256: str  # of the sources that trained it, or "unknown"
    oof_score_fp32: float
    oof_score_fp16: float | None  # None: not measured, no data given
    largest_change_g: float | None  # of any out-of-fold prediction
    incomplete: str = ""  # which folds are missing, and why; empty: the bundle is whole


def half_precision(name: str, tensor: "torch.Tensor") -> "torch.Tensor":
    """Return the tensor as the bundle stores it.

    Matrices and kernels become fp16. Vectors (biases, norms with their running statistics, the target scaling) stay
    fp32: they are under one percent of the bytes, and a running variance can be smaller than fp16 can tell from zero.

    Raises:
        CheckFailed: a weight is too large for fp16.
    """
    import torch

    if tensor.ndim < 2 or not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    if not torch.isfinite(half).all():
        problem = Problem(what=f"{name} reaches {float(tensor.abs().max()):.3g}, fp16 ends at 65504", where=name)
        raise CheckFailed([problem])
    return half


def make_bundle(run: Path, out: Path, *, slug: str, data: Path | None = None) -> BundleReport:
    """Write the bundle of a training run into `out`, whole or not at all.

    `slug` names the Kaggle dataset; `data` is the competition folder on which to measure what half precision costs.

    Raises:
        UsageError: `run` is not a finished training run, or `out` is a folder with something else in it.
        CheckFailed: a weight cannot be stored in half precision.
    """
    from kernel_src.training.runs import OOF_FILE

    if not (run / CONFIG_FILE).is_file():
        raise UsageError(
            f"{run} holds no finished training run (no {CONFIG_FILE}): train first, or name its run/ folder"
        )
    config = read_bundle_json(run, CONFIG_FILE)
    if lacking := [key for key in ("experiment", "folds", "oof", "versions") if config.get(key) is None]:
        raise UsageError(f"{run / CONFIG_FILE} lacks {', '.join(lacking)}: let the training finish")
    out = out.resolve()
    wanted = (*config["folds"], OOF_FILE, *([REGRESS_REPORT] if is_frozen(config["experiment"]) else []))
    if lost := [name for name in wanted if not (run / name).is_file()]:
        raise UsageError(f"{run} lacks {', '.join(lost)}: let the training finish")
    check_depth(config, run)
    if data is not None and is_frozen(config["experiment"]):
        raise UsageError(
            "a regressor is bundled as it is, in full precision, so there is nothing to measure: leave --data out"
        )
    if out.exists() and not (out / MANIFEST_FILE).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there and is not a bundle, so it is not replaced: name another --out")
    draft = out.with_name(f".{out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        return _fill(config, run, draft, out, slug=slug, data=data)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _fill(config: dict[str, Any], run: Path, draft: Path, out: Path, *, slug: str, data: Path | None) -> BundleReport:
    """Fill `draft` with the bundle and rename it over `out`."""
    from build.notebooks.builder import ROOT
    from build.notebooks.metadata import dataset_metadata
    from build.weights.model_card import CARD_FILE, licence_of, model_card
    from kernel_src.competitions.biomass.constants import TRAIN_CSV
    from kernel_src.runtime.provenance import UNKNOWN_SOURCES
    from kernel_src.runtime.weight_files import read_weights
    from kernel_src.training.checkpoint import save_tensors
    from kernel_src.training.runs import OOF_FILE

    foreign: list[Problem] = []
    frozen = is_frozen(config["experiment"])
    as_they_are = [OOF_FILE, *(config["folds"] if frozen else []), *([REGRESS_REPORT] if frozen else [])]
    for name in as_they_are:
        shutil.copyfile(run / name, draft / name)
    for name in [] if frozen else config["folds"]:
        check_kind(run / name)
        tensors = {key: half_precision(key, tensor) for key, tensor in read_weights(run / name).items()}
        foreign += depth_problems(tensors, run / name)
        save_tensors(draft / name, tensors, {"experiment": config["experiment"]["name"]})
    if foreign:
        raise CheckFailed(foreign)
    depth_files = _store_depth(config, run, draft)
    measured = _measure(config, run, draft, data) if data is not None else None
    config["oof"]["fp16"] = measured
    write_json(draft / CONFIG_FILE, config)
    names = [*dict.fromkeys([*config["folds"], *depth_files, *as_they_are]), CONFIG_FILE]
    files = {name: file_entry(draft / name) for name in names}
    cv = cross_validation(draft, TRAIN_TABLES if data is None else [data / TRAIN_CSV])
    licence = licence_of(slug, ROOT)
    write_text(draft / CARD_FILE, model_card(config, files, cv, slug=slug, licence=licence))
    files[CARD_FILE] = file_entry(draft / CARD_FILE)
    manifest = {
        "format": BUNDLE_FORMAT,
        "dataset": slug,
        "experiment": config["experiment"]["name"],
        "source_sha256": config.get("source_sha256", UNKNOWN_SOURCES),  # as the run noted it, whatever is built now
        "versions": config["versions"],
        "files": files,
    }
    write_json(draft / MANIFEST_FILE, manifest)
    write_json(draft / "dataset-metadata.json", dataset_metadata(slug))
    shutil.rmtree(out, ignore_errors=True)
    draft.rename(out)
    return BundleReport(
        folder=str(out),
        files=len(files),
        halved=not frozen,
        bytes_run=sum((run / name).stat().st_size for name in [*config["folds"], *depth_files]),
        bytes_bundle=sum(path.stat().st_size for path in out.iterdir()),
        source_sha256=manifest["source_sha256"],
        oof_score_fp32=config["oof"]["score"],
        oof_score_fp16=measured["score"] if measured else None,
        largest_change_g=measured["largest_change_g"] if measured else None,
        incomplete=missing_folds_text(config),
    )


def check_depth(config: Mapping[str, Any], run: Path) -> None:
    """Refuse a run whose depth model is not there, or is not the one that its folds were trained beside.

    Raises:
        UsageError: a file is missing, or the config does not name it.
        CheckFailed: the weights have another hash than the training noted.
    """
    if not config["experiment"].get("depth"):
        return
    entry = config.get("depth") or {}
    lacking = [key for key in ("weights", "config", "sha256") if not entry.get(key)]
    if lacking:
        raise UsageError(f"{run / CONFIG_FILE}: the entry depth lacks {', '.join(lacking)}: let the training finish")
    source = config["experiment"]["depth"]["weights"]
    if lost := [name for name in (entry["weights"], entry["config"]) if not (run / name).is_file()]:
        raise UsageError(f"{run} lacks {', '.join(lost)}: copy it from the dataset {source}")
    if (found := sha256_of(run / entry["weights"])) != entry["sha256"]:
        what = f"sha256 {found[:12]}…, the folds were trained beside {entry['sha256'][:12]}…"
        cure = f"put back the file of the dataset {source} that the training used"
        raise CheckFailed([Problem(what=what, where=str(run / entry["weights"]), cure=cure)])


def depth_problems(tensors: Mapping[str, Any], path: Path) -> list[Problem]:
    """Find the frozen depth model inside a fold's weights: five folds would carry it five times."""
    strays = sorted(key for key in tensors if DEPTH_MARK in key)
    if not strays:
        return []
    what = f"holds {len(strays)} tensors of the frozen depth model ({strays[0]}, …)"
    return [Problem(what=what, where=str(path), cure="keep the DepthEstimator out of BiomassNet")]


def _store_depth(config: dict[str, Any], run: Path, draft: Path) -> list[str]:
    """Write the depth model once, at half precision, note its new hash in the config, and name the files."""
    from kernel_src.runtime.weight_files import read_weights
    from kernel_src.training.checkpoint import save_tensors

    if not config["experiment"].get("depth"):
        return []
    entry = config["depth"]
    check_kind(run / entry["weights"])
    tensors = {key: half_precision(key, tensor) for key, tensor in read_weights(run / entry["weights"]).items()}
    # No notes: bundles of different experiments then hold the same bytes, and an ensemble sees that it is one model.
    save_tensors(draft / entry["weights"], tensors)
    shutil.copyfile(run / entry["config"], draft / entry["config"])
    stored = sha256_of(draft / entry["weights"])
    config["depth"] = {**entry, "sha256": stored, "trained_beside_sha256": entry["sha256"]}
    return [entry["weights"], entry["config"]]


def _measure(config: dict[str, Any], run: Path, bundle: Path, data: Path) -> dict[str, float]:
    """Predict out of fold once more with the bundle's weights and compare with the run's."""
    import tempfile

    import pandas as pd

    from kernel_src.competitions.biomass.constants import TARGETS, TRAIN_CSV
    from kernel_src.competitions.biomass.tables import read_train
    from kernel_src.models.depth import DEPTH_CONFIG_FILE, DEPTH_WEIGHTS_FILE
    from kernel_src.recipes.experiment import Experiment
    from kernel_src.runtime.device import check_device
    from kernel_src.training.runs import OOF_FILE, out_of_fold_score, predict_out_of_fold

    experiment = Experiment.from_json(config["experiment"])
    train = read_train(data / TRAIN_CSV)
    before = pd.read_csv(run / OOF_FILE)
    with tempfile.TemporaryDirectory() as scratch:
        cache, depth_folder = Path(scratch), None
        if experiment.depth:
            depth_folder = cache / "depth"  # in the hub's layout, but the bundle's halved weights
            depth_folder.mkdir()
            shutil.copyfile(bundle / config["depth"]["weights"], depth_folder / DEPTH_WEIGHTS_FILE)
            shutil.copyfile(bundle / config["depth"]["config"], depth_folder / DEPTH_CONFIG_FILE)
        missing = [int(fold) for fold in config.get("missing_folds") or ()]
        after = predict_out_of_fold(
            experiment, train, data, bundle, cache, check_device(), depth_folder=depth_folder, missing=missing
        )
    if list(after["image_id"]) != list(before["image_id"]):
        problem = Problem(what="these are not the photographs of the run", where=str(data), cure="name its own data")
        raise CheckFailed([problem])
    change = (after[list(TARGETS)] - before[list(TARGETS)]).abs().to_numpy().max()
    return {"score": out_of_fold_score(experiment, train, after), "largest_change_g": round(float(change), 6)}


def summary(report: BundleReport) -> str:
    """Say in one or two lines what a bundle weighs and what half precision cost."""
    if not report.halved:
        return (
            f"bundle {report.folder}: {report.files} files, {report.bytes_bundle / 1e6:.1f} MB, a regressor in full "
            f"precision, fitted by sources {report.source_sha256[:12]}; leave-group-out R² {report.oof_score_fp32:.5f}"
        )
    line = (
        f"bundle {report.folder}: {report.files} files, {report.bytes_bundle / 1e6:.1f} MB "
        f"(training left {report.bytes_run / 1e6:.1f} MB of fp32 weights), "
        f"trained from sources {report.source_sha256[:12]}"
    )
    if report.incomplete:
        line += f"\n{report.incomplete}"
    if report.oof_score_fp16 is None:
        return f"{line}\nout-of-fold R² {report.oof_score_fp32:.5f} in fp32; fp16 not measured, give --data to do so"
    return (
        f"{line}\nout-of-fold R² {report.oof_score_fp32:.5f} in fp32, {report.oof_score_fp16:.5f} in fp16 "
        f"({report.oof_score_fp16 - report.oof_score_fp32:+.5f}, no prediction moved over {report.largest_change_g} g)"
    )
