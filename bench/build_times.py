"""What one waits for on one's own machine: stitching 60 modules, building every notebook, the start of the command."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def measure(quick: bool) -> dict[str, Any]:
    """Return seconds of whole processes, and of the stitching alone."""
    from bench import stitch
    from bench.budget import plan, rounds
    from bench.pairs import amount
    from build.notebooks.builder import all_cards, build_notebook

    plan(3)
    runs = 2 if quick else 7
    chain = stitch.measure(runs)
    verb = [sys.executable, "-m", "build"]
    cards = all_cards()
    whole = []
    for _ in rounds(1 if quick else 3):
        start = time.perf_counter()
        for card in cards:
            build_notebook(card)  # nothing is written
        whole.append(time.perf_counter() - start)
    return {
        "build": {
            "process_s": amount(chain["process_s"], "s"),
            "stitch_s": amount(chain["stitch_s"], "s"),
            "cli_start_s": amount([_seconds([*verb, "--help"]) for _ in rounds(runs)], "s"),
            "all_notebooks_s": amount(whole, "s") | {"notebooks": len(cards)},
        }
    }


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start
