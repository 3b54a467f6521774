"""From the start of the inference notebook to its first batch, over a process that imports torch and timm alone.

The built notebook's code, cell after cell, in a plain process: the start of Jupyter's kernel is not ours. The net is
small and the photographs few, so what is left is imports, the table, the first submission, hashes, loading, decoding.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.timing import amount, in_turn, ratio

ROOT = Path(__file__).resolve().parents[1]
ROUNDS, IMAGES = 5, 8
_FLOOR = "import torch, timm"
# The first batch ends everything, in whichever process it is computed.
_NOTEBOOK = """
import os, sys, json, signal
code = [cell["source"] for cell in json.load(open(sys.argv[1]))["cells"] if cell["cell_type"] == "code"]
space = {"__name__": "__main__"}
def first_batch(*_, **__):
    os.killpg(os.getpgrp(), signal.SIGTERM)
for cell in code:
    exec(compile(cell, "cell", "exec"), space)
    if "forward_values" in space:
        space["forward_values"] = first_batch
raise SystemExit("no batch was computed")
"""


def measure(quick: bool) -> dict[str, Any]:
    """Return `start.ratio` and the seconds of both sides."""
    from bench.material import SMALL, bundle, competition
    from build.notebooks.builder import build_notebook
    from build.run.mock import lay_out
    from kernel_src.competitions.biomass.constants import SLUG
    from kernel_src.competitions.kernel_cards import kernel_card

    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        slug = "i2b-demo-weights"
        lay_out(
            root,
            competition_slug=SLUG,
            data=competition(IMAGES),
            datasets={slug: bundle(SMALL, 2).folder},
            layout="new",
        )
        notebook = root / "notebook.ipynb"
        notebook.write_bytes(build_notebook(kernel_card("demo", "infer")).notebook)
        sides = {
            "notebook": lambda: _seconds([_NOTEBOOK, str(notebook)], root, -15),
            "imports": lambda: _seconds([_FLOOR], root, 0),
        }
        found = in_turn(sides, 1 if quick else ROUNDS)
    return {
        "start": {
            "ratio": ratio(found["notebook"], found["imports"]),
            "notebook_s": amount(found["notebook"], "s"),
            "torch_and_timm_s": amount(found["imports"], "s"),
        }
    }


def _seconds(words: list[str], root: Path, code: int) -> float:
    """Run Python with these words and return its seconds on the clock."""
    environment = os.environ | {"KIT_KAGGLE_ROOT": str(root), "TQDM_DISABLE": "1", "MPLBACKEND": "agg"}
    command, start = [sys.executable, "-c", *words], time.perf_counter()
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, start_new_session=True)
    seconds = time.perf_counter() - start
    if done.returncode != code:
        raise RuntimeError(f"ended with {done.returncode}: {done.stderr[-2000:]}")
    return seconds
