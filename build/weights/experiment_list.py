"""The list of all experiments and ensembles, with what each would cost on Kaggle."""

import json
from typing import Any

from build.weights.describe import IMAGES, TIME_FORMULA, descriptions


def run(as_json: bool) -> None:
    """Print the list of experiments and ensembles."""
    from kernel_src.recipes.ensembles import ENSEMBLES
    from kernel_src.recipes.experiments import EXPERIMENTS, SEED_PUBLIC_R2

    described = dict(
        zip(EXPERIMENTS, descriptions(list(EXPERIMENTS.values()), quiet=as_json, with_memory=True), strict=True)
    )
    rows: list[dict[str, Any]] = []
    for name, d in described.items():
        rows.append(
            {
                "name": name,
                "backbone": d.backbone,
                "parameters": d.parameters_total,
                "image_px": list(d.image_px),
                "folds": d.folds,
                "bundle_bytes": d.bundle_bytes_fp16,
                "training_bytes": d.training_bytes,
                "t4_minutes_800": round(d.t4_minutes, 1),
                "seed_public_r2": SEED_PUBLIC_R2.get(name),
            }
        )
    for name, ensemble in ENSEMBLES.items():
        members = [described[member] for member in ensemble.shares]
        # Where members share a size and a depth model, one pass serves both: the sums are upper bounds.
        rows.append(
            {
                "name": name,
                "backbone": " + ".join(f"{share:g} {member}" for member, share in ensemble.shares.items()),
                "parameters": sum(d.parameters_total for d in members),
                "image_px": None,  # each member at its own
                "folds": sum(d.folds for d in members),
                "bundle_bytes": sum(d.bundle_bytes_fp16 for d in members),
                "training_bytes": max(d.training_bytes or 0 for d in members),
                "t4_minutes_800": round(sum(d.t4_minutes for d in members), 1),
                "seed_public_r2": SEED_PUBLIC_R2.get(name),
                "members": dict(ensemble.shares),
            }
        )
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
        # A square by its side, an oblong by height and width; an ensemble's members have a size each.
        size = "x".join(map(str, dict.fromkeys(row["image_px"]))) if row["image_px"] else "–"
        score = "–" if row["seed_public_r2"] is None else f"{row['seed_public_r2']:.2f}"
        table.add_row(
            row["name"],
            row["backbone"],
            f"{row['parameters'] / 1e6:.1f}",
            size,
            str(row["folds"]),
            f"{row['bundle_bytes'] / 1e9:.3f}",
            f"{row['training_bytes'] / 1e9:.1f}" if row["training_bytes"] else "–",
            f"{row['t4_minutes_800']:.1f}",
            score,
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
