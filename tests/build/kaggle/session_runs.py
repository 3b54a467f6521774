"""What a session of a training leaves on the site when its time is up: a run of one small matrix for each fold."""

import json
from collections.abc import Mapping
from typing import Any

from kernel_src.competitions.held_recipes import EXPERIMENTS

SLUG, RUN = "i2b-demo-train", "kim/i2b-demo-run"
CLOCK = "fold 1: stopped in epoch 1 of 2, batch 1, because the session's 40 s are nearly over; everything is saved\n"
CRASH = 'Traceback (most recent call last):\n  File "cell", line 3, in <module>\n    train()\nRuntimeError: no luck\n'


def unfinished(
    *, folds: int = 0, steps: Mapping[int, int] | None = None, epochs: int = 0, name: str = "demo", data: str = "rows"
) -> dict[str, bytes]:
    """A run with the first `folds` finished, and checkpoints after so many steps of others, by their number."""
    import torch
    from safetensors.torch import save

    recipe: dict[str, Any] = EXPERIMENTS["demo"].as_json() | {"name": name}
    del recipe["machine"]
    files = {
        "fingerprint.json": json.dumps({"experiment": recipe, "data": data}).encode(),
        "sources.json": b'["of the run"]',
        "manifest.json": b"{}",  # of something that this session was itself begun with
    }
    for fold in range(folds):
        files[f"fold{fold}.safetensors"] = save({"head.weight": torch.full((4, 4), float(fold))})
        files[f"log{fold}.csv"] = b"fold,epoch\n0,1\n"
    for fold, count in (steps or {}).items():
        progress = json.dumps({"epoch": epochs, "step": count})
        files[f"checkpoint{fold}.safetensors"] = save(
            {"model.weight": torch.full((4,), float(count))}, {"progress": progress}
        )
    return {f"run/{file}": content for file, content in files.items()}


def needed(run: Mapping[str, bytes]) -> dict[str, bytes]:
    """What the next session must find: every file of a run but the manifest, by its flat name."""
    return {name.removeprefix("run/"): data for name, data in run.items() if not name.endswith("manifest.json")}
