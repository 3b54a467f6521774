"""The list of all experiments and ensembles, with what each would cost on Kaggle."""

import json
from typing import Any

from build.weights.describe import IMAGES, TIME_FORMULA, descriptions


def list_rows(quiet: bool) -> list[dict[str, Any]]:
    """Return a row for each experiment and each ensemble, which is the sum of its members."""
    from kernel_src.recipes.ensembles import ENSEMBLES
    from kernel_src.recipes.experiments import EXPERIMENTS, SEED_PUBLIC_R2

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
            "seed_public_r2": SEED_PUBLIC_R2.get(name),
        }
        rows.append(row if alone else row | {"members": dict(parts)})
    return rows


def run(as_json: bool) -> None:
    """Print the list of experiments and ensembles."""
    rows = list_rows(quiet=as_json)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("name", no_wrap=True)
    table.add_column("backbone", overflow="fold")
    for column in ("M", "px", "folds", "GB", "train", "T4 min", "seed"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in sorted(rows, key=lambda row: row["name"]):
        table.add_row(
            row["name"],
            row["backbone"],
            f"{row['parameters'] / 1e6:.1f}",
            "x".join(map(str, dict.fromkeys(row["image_px"]))) if row["image_px"] else "–",  # a square by its side
            str(row["folds"]),
            f"{row['bundle_bytes'] / 1e9:.3f}",
            f"{row['training_bytes'] / 1e9:.1f}" if row["training_bytes"] else "–",
            f"{row['t4_minutes_800']:.1f}",
            "–" if row["seed_public_r2"] is None else f"{row['seed_public_r2']:.2f}",
        )
    console = Console()
    console.print(table)
    console.print(
        "M: million parameters, with the frozen depth model once. px: side of the square, or height x width. GB: the\n"
        "fp16 bundle of all folds. train: GB of each GPU that training takes, without some 1 GB for CUDA itself.\n"
        "seed: the seed's public leaderboard R² of that version.\n"
        f"T4 min: minutes for {IMAGES} images, {TIME_FORMULA}.",
        highlight=False,
        soft_wrap=True,
    )
