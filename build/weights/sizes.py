"""What the experiments weigh: the list of all, and docs/bundle-sizes.md.

That page has the bundles of the seed's versions beside the seed's own datasets. The bytes are those of the experiments'
descriptions, counted from the tensors' shapes. A test writes one fold of each architecture and finds the same bytes in
the files.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from build.core.errors import Problem
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


def write_sizes(quiet: bool) -> tuple[list[Description], str]:
    """Count the bundles of the seed's versions and write docs/bundle-sizes.md; return them and its text."""
    from kernel_src.competitions.held_recipes import EXPERIMENTS

    described = descriptions([EXPERIMENTS[name] for name in SEED_GB], quiet=quiet)
    text = table(described)
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    write_text(TABLE, text)
    return described, text


# %%
def list_rows(quiet: bool) -> list[dict[str, Any]]:
    """Return a row for each experiment and each ensemble, which is the sum of its members."""
    from kernel_src.competitions.held_recipes import ENSEMBLES, EXPERIMENTS, PUBLISHED

    counted = descriptions(list(EXPERIMENTS.values()), quiet=quiet, with_memory=True)
    described = {d.experiment: d for d in counted}
    shares = {name: {name: 1.0} for name in EXPERIMENTS} | {name: e.shares for name, e in ENSEMBLES.items()}
    rows = []
    for name, parts in shares.items():
        members = [described[member] for member in parts]
        alone = members[0] if name in EXPERIMENTS else None
        backbone = alone.backbone if alone else " + ".join(f"{share:g} {member}" for member, share in parts.items())
        row = {
            "name": name,
            "backbone": backbone,
            "parameters": sum(d.parameters_total for d in members),
            "image_px": list(alone.image_px) if alone else None,  # an ensemble's members have a size each
            "folds": sum(d.folds for d in members),
            "bundle_bytes": sum(d.bundle_bytes_fp16 for d in members),
            "training_bytes": max(d.training_bytes or 0 for d in members),
            # Where members share a size and a depth model, one pass serves both: the sum is an upper bound.
            "t4_minutes_800": round(sum(d.t4_minutes for d in members), 1),
            "seed_public_r2": PUBLISHED.get(name),
        }
        rows.append(row if alone else row | {"members": dict(parts)})
    return rows
