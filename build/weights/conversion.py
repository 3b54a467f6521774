"""Pretrained weights that somebody downloaded become the dataset that the experiments name: safetensors, flat, checked.

`python -m build weights i2b-vit-base-patch14-dinov2 --from ~/Downloads` fills out/weights/<slug>/ with
`model.safetensors`, `manifest.json` and `dataset-metadata.json`. The file must fit the network to its last tensor.
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build.core.errors import CheckFailed, Problem, UsageError
from build.weights.checkpoints import read_checkpoint
from kernel_src.runtime.weight_sources import DEPTH_ANYTHING, SOURCE_OF, WEIGHTS_FILE, WeightSource

if TYPE_CHECKING:
    import torch

PICKLE_FILE = "pytorch_model.bin"
WEIGHTS_FOLDER = Path("out/weights")


@dataclass(frozen=True, kw_only=True)
class WeightsReport:
    """What was made."""

    ok: bool
    dataset: str
    folder: str
    tensors: int
    bytes: int
    converted_from: str
    taken: str  # of the file, where the weights did not lie bare in it
    sha256: str  # of what it was made from


def make_weights(slug: str, source: Path, out: Path | None = None, part: str = "") -> WeightsReport:
    """Make the dataset of pretrained weights from a downloaded file, or from the folder that it lies in.

    `part` names the set of weights to be taken where a checkpoint holds several.

    Raises:
        UsageError: an unknown slug, or no weights where they should be.
        CheckFailed: the file holds no weights, or they do not fit the network.
    """
    from build.core.bundle_files import file_entry
    from build.notebooks.metadata import dataset_metadata
    from kernel_src.runtime.files import BUNDLE_FORMAT, WeightsError, sha256_of, write_json
    from kernel_src.runtime.manifest import MANIFEST_FILE

    if slug not in SOURCE_OF:
        raise UsageError(f"no weights are called {slug!r}; there are {', '.join(SOURCE_OF)}")
    row = SOURCE_OF[slug]
    path = weights_in(source)
    folder = out or WEIGHTS_FOLDER / slug
    if folder.resolve() == path.parent.resolve():
        raise UsageError(f"{folder} is where the downloaded file lies: name another --out")
    checkpoint = read_checkpoint(path, part)
    digest = sha256_of(path)
    files = [WEIGHTS_FILE]
    with tempfile.TemporaryDirectory(prefix=f".{slug}-", dir=_made(folder.parent)) as scratch:
        draft = Path(scratch)  # what lies in the folder is replaced when the new file is known to fit, and not before
        try:
            if row.serves == (DEPTH_ANYTHING,):
                files += _store_depth(path, checkpoint.tensors, draft)
            else:
                _store_backbone(row, checkpoint.tensors, draft)
        except WeightsError as error:
            cure = f"take the file of huggingface.co/{row.hub}"
            raise CheckFailed([Problem(what=str(error).replace(scratch, str(path.parent)), cure=cure)]) from None
        write_json(draft / "dataset-metadata.json", dataset_metadata(slug, licence=row.licence))
        manifest = {
            "format": BUNDLE_FORMAT,
            "dataset": slug,
            "files": {name: file_entry(draft / name) for name in files},
            "converted_from": {
                "file": path.name,
                "part": checkpoint.taken,
                "sha256": digest,
                "published_at": row.hub,
                "licence": row.licence,
            },
        }
        write_json(draft / MANIFEST_FILE, manifest)
        folder.mkdir(exist_ok=True)
        for name in (*files, "dataset-metadata.json", MANIFEST_FILE):
            (draft / name).replace(folder / name)
    size = (folder / WEIGHTS_FILE).stat().st_size
    return WeightsReport(
        ok=True,
        dataset=slug,
        folder=str(folder),
        tensors=len(checkpoint.tensors),
        bytes=size,
        converted_from=str(path),
        taken=checkpoint.taken,
        sha256=digest,
    )


def weights_in(source: Path) -> Path:
    """Return the file with the weights: the path itself, or the one in the folder, safetensors before a pickle.

    Raises:
        UsageError: there is none.
    """
    places = [source] if source.is_file() else [source / WEIGHTS_FILE, source / PICKLE_FILE]
    for place in places:
        if place.is_file():
            return place
    raise UsageError(f"{source}: neither a file nor a folder with {WEIGHTS_FILE} or {PICKLE_FILE}")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _store_backbone(row: WeightSource, tensors: "dict[str, torch.Tensor]", folder: Path) -> None:
    """Write the tensors under timm's names and load them into the backbone once, strictly."""
    from kernel_src.models.hub_names import timm_names
    from kernel_src.models.model import BackboneNet
    from kernel_src.models.starting_weights import load_starting_weights
    from kernel_src.recipes.network import Encoder
    from kernel_src.recipes.pictures import Pictures
    from kernel_src.recipes.predictor import Predictor
    from kernel_src.runtime.files import WeightsError
    from kernel_src.training.checkpoint import save_tensors

    size_px = _native_size_px(row.serves[0])
    model = BackboneNet(Predictor(name="weights", encoder=Encoder(row.serves[0]), pictures=Pictures(size_px, size_px)))
    try:
        named = timm_names(tensors)
    except RuntimeError as error:  # parts that belong together and have other sizes
        raise WeightsError(f"its layers do not fit one another ({error})") from None
    save_tensors(folder / WEIGHTS_FILE, named, {"published_at": row.hub})
    load_starting_weights(model, folder / WEIGHTS_FILE)


def _native_size_px(backbone: str) -> int:
    import timm

    config = timm.get_pretrained_cfg(backbone)
    return int(config.input_size[-1]) if config is not None else 224


def _store_depth(path: Path, tensors: "dict[str, torch.Tensor]", folder: Path) -> list[str]:
    """Write the depth model with its config.json beside it, and load it once, strictly."""
    from kernel_src.models.depth import DEPTH_CONFIG_FILE, DEPTH_WEIGHTS_FILE, load_depth
    from kernel_src.training.checkpoint import save_tensors

    config = path.with_name(DEPTH_CONFIG_FILE)
    if not config.is_file():
        raise UsageError(f"{config} is missing: download it beside {path.name}")
    shutil.copyfile(config, folder / DEPTH_CONFIG_FILE)
    save_tensors(folder / DEPTH_WEIGHTS_FILE, tensors)
    load_depth(folder / DEPTH_WEIGHTS_FILE, folder / DEPTH_CONFIG_FILE)
    return [DEPTH_CONFIG_FILE]
