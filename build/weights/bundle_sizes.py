"""What the bundles of the seed's versions weigh, beside the seed's own datasets: docs/bundle-sizes.md.

The bytes are those of the experiments' descriptions, counted from the tensors' shapes. A test writes one fold of each
architecture and finds the same bytes in the files.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from build.core.errors import CheckFailed, Problem
from build.weights.describe import Description, descriptions
from kernel_src.runtime.files import write_text

# Gigabytes of the seed's weight datasets, five folds each (shared/facts/seed-system.md, "Packaging").
SEED_GB = {"v4": 2.25, "v5": 3.76, "v7": 5.26, "v8": 5.78}
TOTAL_LIMIT_GB, LIMITS_GB = 3.0, {"v8": 0.95}  # what this kit promises
TABLE = Path("docs/bundle-sizes.md")


def size_problems(described: Sequence[Description]) -> list[Problem]:
    """Compare the sizes with what the kit promises."""
    problems = []
    total_gb = sum(d.bundle_bytes_fp16 for d in described) / 1e9
    if total_gb > TOTAL_LIMIT_GB:
        what = f"the bundles weigh {total_gb:.3f} GB together, promised are {TOTAL_LIMIT_GB} GB"
        problems.append(Problem(what=what, where="bundle-sizes", cure="look for a frozen part stored once per fold"))
    for d in described:
        limit_gb = LIMITS_GB.get(d.experiment, float("inf"))
        if d.bundle_bytes_fp16 / 1e9 > limit_gb:
            what = f"the bundle weighs {d.bundle_bytes_fp16 / 1e9:.3f} GB, promised are {limit_gb} GB"
            problems.append(Problem(what=what, where=d.experiment))
    return problems


def table(described: Sequence[Description]) -> str:
    """Write the sizes as a page of Markdown."""
    total_gb, seed_gb = sum(d.bundle_bytes_fp16 for d in described) / 1e9, sum(SEED_GB[d.experiment] for d in described)
    rows = []
    for d in described:
        depth = f"{d.depth_bytes_fp16 / 1e6:.0f} MB, once" if d.depth_bytes_fp16 else "–"
        gb, of_seed = d.bundle_bytes_fp16 / 1e9, SEED_GB[d.experiment]
        rows.append(
            f"| {d.experiment} | {d.backbone} | {d.folds} | {depth} | {d.run_bytes / 1e9:.3f} GB | {gb:.3f} GB "
            f"| {of_seed:.2f} GB | {gb / of_seed:.2f} |\n"
        )
    return f"""# Bundle sizes

For whoever wonders what to upload. Written by `describe --bundle-sizes`: the tensors of all folds,
counted from their shapes; `tests/build/weights/test_bundle_sizes.py` writes a fold of each architecture and finds these
bytes in its files. Gigabytes are 10⁹ bytes. The seed's figures are those of its weight datasets.

| version | backbone | folds | depth model | run, fp32 | bundle | seed | bundle / seed |
|---|---|--:|--:|--:|--:|--:|--:|
{"".join(rows)}| **all** | | | | | **{total_gb:.3f} GB** | **{seed_gb:.2f} GB** | **{total_gb / seed_gb:.2f}** |

Promised: at most {TOTAL_LIMIT_GB} GB together, v8 at most {LIMITS_GB["v8"]} GB. Matrices are stored in fp16, vectors
(biases, norms, running statistics, target scaling) in fp32.
"""


def run(as_json: bool, root: Path = Path()) -> None:
    """Count the bundles of the seed's versions, write docs/bundle-sizes.md, and print it.

    Raises:
        CheckFailed: a bundle is larger than promised.
    """
    from kernel_src.recipes.experiments import EXPERIMENTS

    described = descriptions([EXPERIMENTS[name] for name in SEED_GB], quiet=as_json)
    text = table(described)
    (root / TABLE).parent.mkdir(parents=True, exist_ok=True)
    write_text(root / TABLE, text)
    fields = ("experiment", "backbone", "folds", "run_bytes", "bundle_bytes_fp16", "depth_bytes_fp16")
    result = {
        "total_bytes": sum(d.bundle_bytes_fp16 for d in described),
        "seed_total_gb": round(sum(SEED_GB.values()), 2),
        "bundles": [
            {name: getattr(d, name) for name in fields} | {"seed_gb": SEED_GB[d.experiment]} for d in described
        ],
    }
    print(json.dumps(result, indent=2) if as_json else text)
    if problems := size_problems(described):
        raise CheckFailed(problems)
