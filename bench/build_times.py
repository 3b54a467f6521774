"""What one waits for on one's own machine: stitching 60 modules, all notebooks, the command's start, a comparison.

The 60 modules of some 40 lines import one another in a chain (aliases, attribute access, a class, three functions and a
third-party import in each). `compare` reads two files of out-of-fold predictions: the real ones where they are at hand.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.timing import amount, plan, rounds

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
MODULES = 60
VERB = [sys.executable, "-m", "build"]

_STITCHED = """
import sys, time
from pathlib import Path
from build.stitch import compose
root = Path(sys.argv[1])
start = time.perf_counter()
compose(root / "main.py", root)
print(time.perf_counter() - start)
"""


def write_chain(root: Path) -> None:
    """Write `chain/m00.py` … `m59.py`, each of which needs the one before, and a script that needs the last."""
    (root / "chain").mkdir()
    (root / "chain" / "__init__.py").write_text('"""A chain."""\n')
    for number in range(MODULES):
        before = f"m{number - 1:02}"
        imports = (
            f"import chain.{before} as before_{number}\nfrom chain.{before} import step_{number - 1}\n"
            if number
            else ""
        )
        previous = f"before_{number}.step_{number - 1}(x) + step_{number - 1}(0)" if number else "x"
        functions = "\n\n".join(
            f"def work_{number}_{index}(values: list[float], *, limit: float = 1.0) -> float:\n"
            f'    """Add what is below the limit."""\n'
            f"    total = sum(value for value in values if value < limit)\n"
            f"    return total + math.sqrt({index}) + float(np.mean(values))\n"
            for index in range(3)
        )
        (root / "chain" / f"m{number:02}.py").write_text(
            f'"""## Module {number}\n\nOne link of the chain.\n"""\n\n'
            "import math\nfrom dataclasses import dataclass\n\n"
            f"import numpy as np\n\n{imports}\n\n"
            f"# %%\n@dataclass(frozen=True)\nclass Link{number}:\n    size: int = {number}\n\n\n"
            f"# %% Work\n{functions}\n\n\ndef step_{number}(x: float) -> float:\n    return {previous} + {number}\n"
        )
    last = f"m{MODULES - 1:02}"
    step = f"step_{MODULES - 1}"
    cells = f"# %% [markdown]\n# # Chain\n\n# %%\nfrom chain.{last} import {step}\n\nprint({step}(1.0))\n"
    (root / "main.py").write_text(cells)


def measure(quick: bool) -> dict[str, Any]:
    """Return seconds of whole processes, and of the stitching alone."""
    from build.notebooks.builder import all_cards, build_notebook

    plan(4)
    runs = 2 if quick else 7
    chain = stitched(runs)
    cards = all_cards()
    whole = []
    for _ in rounds(1 if quick else 3):
        start = time.perf_counter()
        for card in cards:
            build_notebook(card)  # nothing is written
        whole.append(time.perf_counter() - start)
    walls, processors = zip(*(seconds_of([*VERB, "--help"]) for _ in rounds(runs)), strict=True)
    return {
        "build": {
            "process_s": amount(chain["process_s"], "s"),
            "stitch_s": amount(chain["stitch_s"], "s"),
            "cli_start_s": amount(walls, "s"),
            "cli_start_processor_s": amount(processors, "s"),
            "all_notebooks_s": amount(whole, "s") | {"notebooks": len(cards)},
        },
        "validation": compared(1 if quick else 5),
    }


def stitched(runs: int) -> dict[str, list[float]]:
    """Return seconds per run, of the whole process (notebook validated and written) and of the stitching alone.

    `process_cpu_s` is the whole process in seconds of the processor, which other work on the machine cannot stretch.
    """
    found: dict[str, list[float]] = {"process_s": [], "process_cpu_s": [], "stitch_s": []}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_chain(root)
        command = [*VERB, "stitch", str(root / "main.py"), "--root", folder, "--out", str(root / "out.ipynb")]
        for _ in rounds(runs):
            whole_s, cpu_s = seconds_of(command)
            found["process_s"].append(whole_s)
            found["process_cpu_s"].append(cpu_s)
            timed = [sys.executable, "-c", _STITCHED, folder]
            result = subprocess.run(timed, check=True, cwd=ROOT, capture_output=True, text=True)
            found["stitch_s"].append(float(result.stdout))
    return found


def compared(runs: int) -> dict[str, Any]:
    """Return seconds of a whole `compare` of two files, by the wall and of the processor."""
    with tempfile.TemporaryDirectory() as scratch:
        real = sorted((DATA / "oof").glob("*.csv"))[:2]
        files, train = (real, DATA / "train.csv") if len(real) == 2 else _painted(Path(scratch))
        command = [*VERB, "compare", *map(str, files), "--train-csv", str(train)]
        walls, processors = zip(*(seconds_of(command) for _ in rounds(runs)), strict=True)
    return {
        "compare_s": amount(walls, "s") | {"files": "real" if len(real) == 2 else "painted"},
        "compare_processor_s": amount(processors, "s"),
    }


def _painted(folder: Path) -> tuple[list[Path], Path]:
    """Write a table as large as the real one, and two files of predictions."""
    from tests.build.scores.painted import predicted, truth, write_oof, write_train

    table = truth()
    files = [write_oof(folder / f"{seed}.csv", table, predicted(table, seed)) for seed in (1, 2)]
    return files, write_train(folder / "train.csv", table)


def seconds_of(command: list[str]) -> tuple[float, float]:
    """Run it and return its seconds on the clock and of the processor."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
