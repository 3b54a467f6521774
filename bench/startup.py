"""The cold start of the inference notebook: from the start of its kernel to the first batch's prediction, rehearsed.

The built notebook `i2b-demo-infer` under the rehearsal, with a bundle of random weights and eight full-size
photographs. Its parts add up to `startup.to_first_batch`; `startup.over_imports` is that over a process that imports
torch and timm and nothing else, in turn, which a slow disk stretches as well. `transformers` is what importing it
would add to every notebook; only a bundle with depth pays that.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "i2b-demo-infer" / "i2b-demo-infer.ipynb"
ROUNDS = 3
IMAGES = 8
IMPORTS = "import torch, timm, cv2, pandas"
DEPTH_IMPORT = "transformers.models.depth_anything.modeling_depth_anything"


def measure(quick: bool) -> dict[str, Any]:
    """Return `startup`: seconds to the first batch, in parts."""
    from bench.budget import rounds
    from bench.pairs import amount, ratio

    found, bare, added = [], [], []
    for _ in rounds(1 if quick else ROUNDS):
        found.append(_rehearsed())
        bare.append(_seconds("import torch, timm"))
        added.append(max(0.0, _seconds(f"{IMPORTS}, {DEPTH_IMPORT}") - _seconds(IMPORTS)))
    parts = {name: amount([one[name] for one in found], "s") for name in found[0]}
    return {
        "startup": parts
        | {
            "over_imports": ratio([one["to_first_batch"] for one in found], bare),
            "bare_imports": amount(bare, "s"),
            "transformers": amount(added, "s"),
        }
    }


def _seconds(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return time.perf_counter() - start


def _rehearsed() -> dict[str, float]:
    """Rehearse once; the parts add up to `to_first_batch`."""
    from bench.material import bundle, competition
    from build.run.rehearse.rehearsal import rehearse
    from kernel_src.recipes.experiments import EXPERIMENTS

    recipe = bundle(replace(EXPERIMENTS["demo"], tta="none"), 2)
    with tempfile.TemporaryDirectory() as scratch:
        report = rehearse(NOTEBOOK, data=competition(IMAGES), weights=[recipe.folder], out=Path(scratch) / "out")
        if report.problems:
            raise RuntimeError("; ".join(str(problem) for problem in report.problems))
        told = json.loads((Path(scratch) / "out" / "working" / "inference_report.json").read_text())
    took, cells = told["plan"]["seconds"], [cell.seconds for cell in report.cell_seconds]
    sources = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    imports = next(i for i, source in enumerate(sources) if source.startswith("# imports: third party"))
    predict = next(i for i, source in enumerate(sources) if "outcome = infer(" in source)
    parts = {
        "kernel": report.seconds - sum(cells),  # papermill and the kernel, until the first cell and after the last
        "imports": cells[imports],
        "other_cells": sum(cells[:predict]) - cells[imports],
        "loading": took["loading"],
        "first_batch": took["first_batch"],
    }
    return parts | {"to_first_batch": sum(parts.values())}
