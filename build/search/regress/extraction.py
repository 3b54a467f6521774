"""`python -m build features`: photographs → an .npz of frozen features, by the very network that the notebook has."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build.core.errors import CheckFailed, Problem, UsageError
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.network import RegressorHead
from kernel_src.recipes.pictures import Pictures, SideBySide
from kernel_src.recipes.predictor import Predict

if TYPE_CHECKING:
    from kernel_src.training.feature_run import FeatureTask

PROVENANCE = (
    "provenance"  # the entry of the .npz that says, as JSON, what made it; as in kernel_src.training.feature_run
)
SUFFIXES = (".jpg", ".jpeg", ".png")


def frozen_recipe(experiment: Experiment, changes: Mapping[str, Any]) -> Experiment:
    """Return an experiment as one of frozen features: its backbone, no fine-tuning, no depth.

    Raises:
        UsageError: the backbone has no weights to start from, or a change is impossible.
    """
    from build.core.settings import apply_changes

    if not experiment.is_frozen:
        experiment = Experiment(
            name=experiment.name,
            pictures=Pictures(experiment.pictures.height_px, experiment.pictures.width_px),
            encoder=replace(experiment.encoder, freeze=None),
            head=RegressorHead(),
            predict=Predict(tta="none"),
        )
    pictures = len(changes.get("pictures.parts", experiment.pictures.parts))
    pictures *= len(changes.get("pictures.scales", experiment.pictures.scales))
    join = {"pictures.join": SideBySide() if pictures > 1 else None}
    return apply_changes(experiment, join | dict(changes))


def photographs_of(train_csv: Path | None, images: Path | None) -> dict[str, Path]:
    """Map image ids to photographs: those of a train.csv, beside it or in `images`, or every one in `images`.

    Raises:
        UsageError: neither is given, a file is wrong or missing, or there are none.
    """
    from kernel_src.competitions.held_rules import rules

    if train_csv is None and images is None:
        raise UsageError("features of which photographs? Give --train-csv FILE, --images DIR, or both")
    if images is not None and not images.is_dir():
        raise UsageError(f"--images {images} is not a folder")
    if train_csv is None:
        assert images is not None
        found = {path.stem: path for path in sorted(images.iterdir()) if path.suffix.lower() in SUFFIXES}
        if not found:
            raise UsageError(f"{images} holds no photograph ({', '.join(SUFFIXES)})")
        return found
    try:
        train = rules().read_train(train_csv)
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(str(error)) from None
    paths = [images / Path(name).name if images else train_csv.parent / name for name in train["image_path"]]
    if lost := [path for path in paths if not path.is_file()]:
        cure = "name their folder with --images" if images is None else "is it the right folder?"
        raise UsageError(f"{len(lost)} of {len(paths)} photographs are not there, first {lost[0]}: {cure}")
    return dict(zip(train["image_id"], paths, strict=True))


def make_features(
    experiment: Experiment,
    photographs: Mapping[str, Path],
    weights: Path,
    out: Path,
    *,
    batch_size: int,
    quiet: bool = False,
) -> dict[str, Any]:
    """Write the features of photographs into `out`, whole or not at all; return what it says of itself.

    By the very code of the features kernel, on all devices of the machine; goes on if it was stopped.

    Raises:
        CheckFailed: the weights do not fit, a photograph cannot be read, a feature is not finite, or the memory is too
            small.
        UsageError: the backbone cannot do what the experiment asks of it.
    """
    from build.notebooks.builder import ROOT
    from build.run.session import files_sha256
    from kernel_src.data.images import ImageError
    from kernel_src.runtime.device import check_device
    from kernel_src.runtime.files import WeightsError
    from kernel_src.runtime.provenance import note_sources
    from kernel_src.training.feature_run import CHUNKS, FEATURES_FILE, FeatureTask, finish_features, make_chunks
    from kernel_src.training.session import ENDLESS

    task = FeatureTask(experiment, photographs, weights, out.with_name(f".{out.stem}.making"))
    _forget_another(task)
    try:
        if task.chunks_left:
            note_sources(task.folder, files_sha256((ROOT / "kernel_src").rglob("*.py"), ROOT))
        make_chunks(task, check_device(), ENDLESS, batch_size=batch_size, quiet=quiet)
        provenance = finish_features(task)
    except (WeightsError, ImageError, FloatingPointError, RuntimeError) as error:
        raise CheckFailed([Problem(what=str(error))]) from None
    except ValueError as error:
        raise UsageError(str(error)) from None
    finally:
        if not list(task.folder.glob(CHUNKS)) and not (task.folder / FEATURES_FILE).exists():
            shutil.rmtree(task.folder, ignore_errors=True)
    os.replace(task.folder / FEATURES_FILE, out)
    shutil.rmtree(task.folder)
    return provenance


def _forget_another(task: "FeatureTask") -> None:
    """Remove what an earlier call left that was stopped, unless it was making the very same."""
    from kernel_src.training.resumption import check_fingerprint

    task.folder.mkdir(parents=True, exist_ok=True)
    try:
        check_fingerprint(task.fingerprint(), task.folder)
    except ValueError:
        shutil.rmtree(task.folder)
