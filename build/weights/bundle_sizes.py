"""`describe --bundle-sizes`: what the bundles of the seed's versions really weigh, measured on files.

Each architecture is built with random weights, five folds of it are written as a training run leaves them, and
`make_bundle` makes of them what would be uploaded. Beside it stands the count from the shapes alone, so that the two
vouch for each other. Everything is deleted again; the disk needed meanwhile is reported.
"""

import json
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from build.core.errors import CheckFailed, Problem
from kernel_src.recipes.experiment import Experiment
from kernel_src.runtime.files import write_json, write_text

# Gigabytes of the seed's weight datasets, five folds each (shared/facts/seed-system.md, "Packaging").
SEED_GB = {"v4": 2.25, "v5": 3.76, "v7": 5.26, "v8": 5.78}
TOTAL_LIMIT_GB, LIMITS_GB = 3.0, {"v8": 0.95}  # what this kit promises
TABLE, NUMBERS = Path("docs/bundle-sizes.md"), Path("out/bundle-sizes.json")


@dataclass(frozen=True, kw_only=True)
class BundleSize:
    """One experiment's bundle, written and weighed."""

    experiment: str
    backbone: str
    folds: int
    depth_bytes: int  # of the shared depth model, stored once; 0: none
    run_bytes: int  # fp32, as training leaves it
    bundle_bytes: int  # all files of the bundle, on disk
    tensor_bytes: int  # of these, the numbers in the weight files: without headers, config, manifest
    counted_bytes: int  # the same from shapes and types alone, without writing anything
    seed_gb: float
    seconds: float


def stored_bytes(shapes: Sequence[tuple[str, tuple[int, ...], int]]) -> int:
    """Count the bytes of tensors, given as name, shape and bytes per element, as `half_precision` stores them."""
    from math import prod

    return sum(prod(shape) * (min(2, width) if len(shape) > 1 else width) for _, shape, width in shapes)


def counted_bytes(experiment: Experiment) -> int:
    """Count the tensor bytes of an experiment's bundle from the model built without memory (meta device)."""
    import torch
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation

    from build.weights.random_weights import DEPTH_SMALL
    from kernel_src.models.model import BiomassNet

    def bytes_of(module: "torch.nn.Module") -> int:
        return stored_bytes([(k, tuple(t.shape), t.element_size()) for k, t in module.state_dict().items()])

    folds = len(experiment.train_folds) or experiment.folds
    with torch.device("meta"):
        total = folds * bytes_of(BiomassNet(experiment))
        if experiment.depth:
            total += bytes_of(DepthAnythingForDepthEstimation(DepthAnythingConfig(**DEPTH_SMALL)))
    return total


def tensor_bytes(path: Path) -> int:
    """Count the bytes of tensors in a safetensors file: all but the length of the header (8 bytes) and the header."""
    with path.open("rb") as handle:
        return path.stat().st_size - 8 - int.from_bytes(handle.read(8), "little")


def weigh(experiment: Experiment, scratch: Path, seed_gb: float) -> BundleSize:
    """Write all folds and the bundle of an experiment with random weights below `scratch`, and weigh them."""
    from build.weights.bundle import make_bundle
    from build.weights.random_weights import DEPTH_SMALL, random_depth, random_run
    from kernel_src.models.depth import BUNDLED_DEPTH_WEIGHTS

    start = time.perf_counter()
    depth = random_depth(scratch / "depth", DEPTH_SMALL) if experiment.depth else None
    run_folder = random_run(scratch / "run", experiment, depth)
    bundle = scratch / "bundle"
    report = make_bundle(run_folder, bundle, slug=f"i2b-{experiment.name}-weights")
    return BundleSize(
        experiment=experiment.name,
        backbone=experiment.backbone,
        folds=len(list(bundle.glob("fold*.safetensors"))),
        depth_bytes=(bundle / BUNDLED_DEPTH_WEIGHTS).stat().st_size if depth else 0,
        run_bytes=report.bytes_run,
        bundle_bytes=report.bytes_bundle,
        tensor_bytes=sum(tensor_bytes(path) for path in bundle.glob("*.safetensors")),
        counted_bytes=counted_bytes(experiment),
        seed_gb=seed_gb,
        seconds=round(time.perf_counter() - start, 1),
    )


def size_problems(sizes: Sequence[BundleSize]) -> list[Problem]:
    """Compare the sizes with what the kit promises, and the files with the count."""
    problems = []
    total_gb = sum(size.bundle_bytes for size in sizes) / 1e9
    if total_gb > TOTAL_LIMIT_GB:
        what = f"the bundles weigh {total_gb:.3f} GB together, promised are {TOTAL_LIMIT_GB} GB"
        problems.append(
            Problem(what=what, where="docs/bundle-sizes.md", cure="look for a frozen part stored once per fold")
        )
    for size in sizes:
        limit_gb = LIMITS_GB.get(size.experiment, float("inf"))
        if size.bundle_bytes / 1e9 > limit_gb:
            what = f"the bundle weighs {size.bundle_bytes / 1e9:.3f} GB, promised are {limit_gb} GB"
            problems.append(Problem(what=what, where=size.experiment))
        if size.tensor_bytes != size.counted_bytes:
            what = f"the files hold {size.tensor_bytes:,} bytes of tensors, the model has {size.counted_bytes:,}"
            problems.append(Problem(what=what, where=size.experiment, cure="something else is stored, or not stored"))
    return problems


def table(sizes: Sequence[BundleSize], peak_disk_bytes: int) -> str:
    """Write the sizes as a page of Markdown."""
    total_bytes, seed_gb = sum(size.bundle_bytes for size in sizes), sum(size.seed_gb for size in sizes)
    lines = [
        "# Bundle sizes",
        "",
        "Written by `python -m build describe --bundle-sizes`: real architectures with random weights, all folds, on",
        "disk. Gigabytes are 10⁹ bytes. The seed's figures are those of its weight datasets.",
        "",
        "| version | backbone | folds | depth model | run, fp32 | bundle | seed | bundle / seed |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for size in sizes:
        depth = f"{size.depth_bytes / 1e6:.0f} MB, once" if size.depth_bytes else "–"
        lines.append(
            f"| {size.experiment} | {size.backbone} | {size.folds} | {depth} | {size.run_bytes / 1e9:.3f} GB "
            f"| {size.bundle_bytes / 1e9:.3f} GB | {size.seed_gb:.2f} GB "
            f"| {size.bundle_bytes / 1e9 / size.seed_gb:.2f} |"
        )
    lines.append(
        f"| **all** | | | | | **{total_bytes / 1e9:.3f} GB** | **{seed_gb:.2f} GB** "
        f"| **{total_bytes / 1e9 / seed_gb:.2f}** |"
    )
    lines += [
        "",
        f"Promised: at most {TOTAL_LIMIT_GB} GB together, v8 at most {LIMITS_GB['v8']} GB. Matrices are stored in",
        "fp16, vectors (biases, norms, running statistics, target scaling) in fp32. Disk needed while measuring: "
        f"{peak_disk_bytes / 1e9:.1f} GB, deleted afterwards.",
        "",
    ]
    return "\n".join(lines)


def run(as_json: bool, root: Path = Path()) -> None:
    """Weigh the bundles of the seed's versions, write docs/bundle-sizes.md and out/bundle-sizes.json, and print them.

    Raises:
        CheckFailed: a bundle is larger than promised, or holds other bytes than its tensors'.
    """
    from kernel_src.recipes.experiments import EXPERIMENTS

    sizes = []
    for name, seed_gb in SEED_GB.items():
        with tempfile.TemporaryDirectory(prefix="bundle-sizes-") as scratch:
            sizes.append(weigh(EXPERIMENTS[name], Path(scratch), seed_gb))
    # The run with the depth model, that model in the hub's layout beside it, and the finished bundle.
    peak = max(size.run_bytes + 2 * size.depth_bytes + size.bundle_bytes for size in sizes)
    text = table(sizes, peak)
    (root / TABLE).parent.mkdir(parents=True, exist_ok=True)
    (root / NUMBERS).parent.mkdir(parents=True, exist_ok=True)
    write_text(root / TABLE, text)
    result = {
        "total_bytes": sum(size.bundle_bytes for size in sizes),
        "seed_total_gb": round(sum(SEED_GB.values()), 2),
        "peak_disk_bytes": peak,
        "bundles": [asdict(size) for size in sizes],
        "machine": platform.machine(),
    }
    write_json(root / NUMBERS, result)
    print(json.dumps(result, indent=2) if as_json else text)
    if problems := size_problems(sizes):
        raise CheckFailed(problems)
