"""`python -m build features`: photographs → an .npz of frozen features, by the very network that the notebook has."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from build.core.errors import CheckFailed, Problem, UsageError
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.network import RegressorHead
from kernel_src.recipes.pictures import Pictures, SideBySide
from kernel_src.recipes.predictor import Predict

PROVENANCE = "provenance"  # the entry of the .npz that says, as JSON, what made it
SUFFIXES = (".jpg", ".jpeg", ".png")
VERSIONED = ("torch", "timm", "numpy")


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
    from kernel_src.competition.tables import read_train

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
        train = read_train(train_csv)
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(str(error)) from None
    paths = [images / Path(name).name if images else train_csv.parent / name for name in train["image_path"]]
    if lost := [path for path in paths if not path.is_file()]:
        cure = "name their folder with --images" if images is None else "is it the right folder?"
        raise UsageError(f"{len(lost)} of {len(paths)} photographs are not there, first {lost[0]}: {cure}")
    return dict(zip(train["image_id"], paths, strict=True))


def extract(
    experiment: Experiment,
    paths: Sequence[Path],
    weights: Path,
    *,
    batch_size: int,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """Return the frozen features of photographs, (n, F) float32; each is read once, each picture passes once.

    Raises:
        CheckFailed: the weights do not fit, a photograph cannot be read, or a feature is not finite.
        UsageError: the backbone cannot do what the experiment asks of it.
    """
    import torch

    from kernel_src.bundle.bundle_prediction import PhotographFiles
    from kernel_src.bundle.bundles import framings_of
    from kernel_src.data.images import ImageError
    from kernel_src.models.frozen_features import load_frozen_features
    from kernel_src.models.full_pass import batch_loader
    from kernel_src.models.prediction import not_finite
    from kernel_src.models.starting_weights import preprocessing_of
    from kernel_src.runtime.device import check_device
    from kernel_src.runtime.files import WeightsError

    device, preprocessing = check_device(), preprocessing_of(experiment.encoder.timm)
    framings = framings_of(experiment, preprocessing)
    parts: list[np.ndarray] = []
    try:
        net = load_frozen_features(experiment, weights).to(device.kind)
        net.to(memory_format=torch.channels_last)  # as inference does
        for raw in batch_loader(PhotographFiles(paths, framings), batch_size, device):
            pictures = [preprocessing.normalise(one.to(device.kind)) for one in raw]
            with torch.inference_mode():
                with torch.autocast(device.kind, torch.float16, enabled=device.half):
                    features = net(*pictures)
                if device.half and bool((bad := not_finite(features)).any()):
                    features[bad] = net(*(one[bad] for one in pictures))
            for row in np.flatnonzero(not_finite(features).cpu().numpy()):
                path = paths[sum(map(len, parts)) + int(row)]
                raise CheckFailed([Problem(what="a feature is NaN or infinite in fp32 too", where=str(path))])
            parts.append(features.float().cpu().numpy())
            advance(sum(map(len, parts)), len(paths))
    except (WeightsError, ImageError) as error:
        raise CheckFailed([Problem(what=str(error))]) from None
    except ValueError as error:
        raise UsageError(str(error)) from None
    return np.concatenate(parts)


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

    Raises:
        CheckFailed, UsageError: see `extract`.
    """
    from build.core.progress import counting
    from kernel_src.bundle.bundles import framings_of
    from kernel_src.models.frozen_features import feature_blocks
    from kernel_src.models.starting_weights import preprocessing_of
    from kernel_src.runtime.device import check_device
    from kernel_src.runtime.files import write_atomically
    from kernel_src.runtime.weight_files import weights_sha256

    with counting("photographs", quiet) as advance:
        features = extract(experiment, list(photographs.values()), weights, batch_size=batch_size, advance=advance)
    preprocessing, device = preprocessing_of(experiment.encoder.timm), check_device()
    provenance = {
        "experiment": experiment.as_json(),
        "preprocessing": preprocessing.as_json(),
        "weights": {"dataset": experiment.encoder.weights, "sha256": weights_sha256(weights)},
        "blocks": feature_blocks(experiment, framings_of(experiment, preprocessing)),
        "images": len(features),
        "features": features.shape[1],
        "device": f"{device.name}, {'fp16' if device.half else 'fp32'}",
        "versions": {name: version(name) for name in VERSIONED},
    }
    arrays = {
        "image_id": np.array(list(photographs)),
        "features": features,
        PROVENANCE: np.array(json.dumps(provenance)),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, lambda draft: np.savez(draft, **arrays))
    return provenance
