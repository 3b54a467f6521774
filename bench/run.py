"""Measure everything: out/bench/results.json and a one-page out/bench/index.html.

    make bench                       all parts, at most 25 minutes
    .venv/bin/python -m bench.run --only decode,cache [--quick]

The 25 minutes are one budget: each part, in a process of its own, gets its share of what is left, repeats each
measurement as often as fits, at least once, and leaves its figures with n beside them (bench/timing.py). A slower
machine so gives fewer rounds, not fewer figures. A figure is judged against its target where n suffices. A part that
fails is named, the others still run, and the exit code is 1, as it is when a figure misses its target (a quick run,
with few pairs, judges nothing). Parts that are not asked for keep their last results, marked with their own time.

A part is a module of this folder with `measure(quick: bool) -> dict`, or one that has parts of its own,
`measure(quick: bool, of: str)`. What it returns is merged into results.json under the names it chose: nested dicts,
whose leaves are objects with `value`, `n`, `spread` [low, high] and, where it is not a ratio, `unit` (bench/timing.py
makes them); anything else is kept as a note. To add one: write the module, add a line to PARTS and, where something is
promised, to TARGETS.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.timing import allow

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "out" / "bench"
BUDGET_S = 25 * 60  # of a whole run
START_S = 15.0  # of a part's budget, for its imports and for writing down what it found
SPARE = 1.5  # a part alone gets so much of its usual time, not the whole budget
HANGS_S, HANGS_SHARES = 120.0, 4.0  # a part is stopped after so long beyond so many times its share
PACKAGES = ("torch", "torchvision", "timm", "albumentations", "opencv-python-headless", "pillow", "numpy")


@dataclass(frozen=True)
class Part:
    """One module to run."""

    name: str  # bench/<module>.py, or <module>.<what of it>
    says: str
    share: int  # of the whole budget, relative to the other parts: seconds on 2 quick cores

    @property
    def module(self) -> str:
        """Whose `measure` it is."""
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Target:
    """What a figure must reach, and why it is asked for."""

    key: str
    says: str
    at_least: float | None = None
    at_most: float | None = None
    least_n: int = 3  # fewer rounds judge nothing

    def is_met(self, value: float) -> bool:
        """Say whether the value is within the bounds."""
        above = self.at_least is None or value >= self.at_least
        return above and (self.at_most is None or value <= self.at_most)

    @property
    def bound(self) -> str:
        """The bounds in words."""
        return f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"


PARTS = (
    Part("decode", "reading a photograph against OpenCV at full size and albumentations", 55),
    Part("cache", "a ready array against decoding", 10),
    Part("build_times", "stitching 60 modules, building all notebooks, the command's start, comparing two files", 65),
    Part("sync", "an edit in a notebook on its way back, and how long `watch` takes", 120),
    Part("seed_way", "our inference against the seed's way", 180),
    Part("memory", "peak memory against the number of photographs", 40),
    Part("inference_start", "the inference notebook until its first batch, over importing torch and timm", 90),
    Part("training_step.v1", "a step of the training over the network's own passes, v1", 120),
    Part("training_step.v7", "the same, v7", 240),
    # The longest last: what others did not need is theirs.
    Part("overhead.v7", "our whole inference over the forward passes alone, v7", 320),
    Part("overhead.v5", "the same, v5", 440),
    Part("overhead.v8", "the same, v8", 440),
)
TARGETS = (
    Target("overhead.v5.ratio", "inference over its floor, v5", at_most=1.05),
    Target("overhead.v7.ratio", "inference over its floor, v7", at_most=1.05),
    Target("overhead.v8.ratio", "inference over its floor, v8", at_most=1.05),
    Target("seed_way.v5.speedup", "against the seed's way, v5 in 8 views", at_least=1.6),
    Target("seed_way.v5.peak_over_ours", "its peak memory over ours", at_least=1.0, least_n=1),
    Target("start.ratio", "the inference notebook to its first batch, over importing torch and timm", at_most=1.3),
    Target("training_step.v1.ratio", "a step of the training over its passes, v1", at_most=1.10),
    Target("training_step.v7.ratio", "the same, v7", at_most=1.10),
    Target("rss_growth", "peak memory at 512 photographs over 64", at_most=1.05),
    Target("decode.384.speedup", "decode and preprocess at 384 px", at_least=1.5),
    Target("cache.read_speedup", "a ready array against decoding", at_least=10),
    Target("build.process_s", "60 modules, the whole process", at_most=2.0),
    Target("build.stitch_s", "60 modules, the stitching alone", at_most=0.3),
    Target("validation.compare_s", "compare: two files, the whole process", at_most=3.0),
    Target("sync.edit_s", "an edit in one of our notebooks → its module, besides imports", at_most=1.0),
    Target("sync.watch_source_to_notebook_s", "watch --experiment: a saved source → its notebooks", at_most=1.0),
    Target("sync.watch_source_to_all_notebooks_s", "watch: a saved source → every notebook", at_most=1.0),
)


def figures(results: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every measured figure with its dotted key, in order."""
    for name, found in results.items():
        key = f"{prefix}{name}"
        if isinstance(found, dict) and "value" in found and "n" in found:
            yield key, found
        elif isinstance(found, dict):
            yield from figures(found, f"{key}.")


def merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add nested results to others.

    Raises:
        ValueError: two parts say something of the same key.
    """
    for name, found in more.items():
        if isinstance(found, dict) and isinstance(into.get(name), dict) and "value" not in found:
            merge(into[name], found)
        elif name in into:
            raise ValueError(f"two parts of the bench say something of {name!r}")
        else:
            into[name] = found


def judge(results: Mapping[str, Any]) -> dict[str, bool | None]:
    """Say of every target that was measured whether it is met; None where there were too few rounds to say."""
    measured = dict(figures(results))
    return {
        target.key: target.is_met(figure["value"]) if figure["n"] >= target.least_n else None
        for target in TARGETS
        if (figure := measured.get(target.key)) is not None
    }


def machine() -> dict[str, Any]:
    """Describe what was measured on."""
    import torch

    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "python": platform.python_version(),
        "commit": commit.stdout.strip() or "unknown",
        **{package: version(package) for package in PACKAGES},
    }


# %%
def run_part(part: Part, quick: bool, share_s: float, left_s: float) -> dict[str, Any]:
    """Run one part in its own process and return `results`, or `failed` with the reason; both with seconds and load.

    It measures for `share_s`, and is stopped where it hangs, or when the `left_s` of the whole run are over.
    """
    limit_s = min(left_s, HANGS_SHARES * share_s + HANGS_S)
    load = os.getloadavg()[0]
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "results.json"
        command = [sys.executable, "-m", "bench.run", "--part", part.name, "--answer", str(answer)]
        command += ["--seconds", f"{max(0.0, share_s - START_S):.1f}"]
        process = subprocess.Popen(
            [*command, *(["--quick"] if quick else [])],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # Threads that wait sleep: spinning ones make every side many times slower where other work has the cores.
            env=os.environ | {"OMP_WAIT_POLICY": "passive"},
        )
        try:
            _, said = process.communicate(timeout=limit_s)
            failed = f"exit code {process.returncode}: {said[-1500:]}" if process.returncode else ""
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its own session: what it started goes with it
            process.communicate()
            failed = f"stopped after {limit_s:.0f} s; its share of the budget was {share_s:.0f} s"
        run: dict[str, Any] = {
            "quick": quick,
            "seconds": round(time.perf_counter() - start, 1),
            "share_s": round(share_s, 1),
            "load_before": round(load, 2),
            "at": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        }
        return run | ({"failed": failed} if failed else {"results": json.loads(answer.read_text())})


def run_parts(chosen: list[Part], quick: bool, out: Path) -> dict[str, Any]:
    """Run the parts one after the other, a line each, and write results.json and index.html."""
    from bench.page import page
    from kernel_src.runtime.files import write_json, write_text

    out.mkdir(parents=True, exist_ok=True)
    kept = out / "parts.json"  # the raw answers, so that a part can be measured alone
    runs: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    runs = {part.name: runs[part.name] for part in PARTS if part.name in runs}
    start = time.perf_counter()
    for number, part in enumerate(chosen, 1):
        left_s = BUDGET_S - (time.perf_counter() - start)
        share_s = left_s * part.share / sum(one.share for one in chosen[number - 1 :])
        print(f"[{number}/{len(chosen)}] {part.name}: {part.says} … ({max(0, share_s):.0f} s)", flush=True)
        if left_s > 0:
            runs[part.name] = run_part(part, quick, min(share_s, SPARE * part.share), left_s)
        else:
            runs[part.name] = {"failed": f"not begun: the whole run has {BUDGET_S} s"}
        print(f"      {runs[part.name].get('failed') or str(runs[part.name]['seconds']) + ' s'}", flush=True)
    results: dict[str, Any] = {}
    for run in runs.values():
        merge(results, run.get("results", {}))
    results["machine"] = machine()
    results["runs"] = {name: {k: v for k, v in run.items() if k != "results"} for name, run in runs.items()}
    results["targets"] = judge(results)
    write_json(kept, runs)
    write_json(out / "results.json", results)
    write_text(out / "index.html", page(results, TARGETS, PARTS))
    return results


def main(arguments: list[str] | None = None) -> int:
    """Measure what is asked for and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help=f"of {','.join(part.name for part in PARTS)}")
    parser.add_argument("--quick", action="store_true", help="few pairs: does it run, not how fast")
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write to (default out/bench)")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.part:
        allow(asked.seconds)
        module, _, of = asked.part.partition(".")
        measured = import_module(f"bench.{module}").measure(asked.quick, *([of] if of else []))
        asked.answer.write_text(json.dumps(measured))
        return 0
    names = [name for name in asked.only.split(",") if name]
    if unknown := set(names) - {name for part in PARTS for name in (part.name, part.module)}:
        parser.error(f"no part {', '.join(sorted(unknown))}: there are {', '.join(part.name for part in PARTS)}")
    chosen = [part for part in PARTS if not names or {part.name, part.module} & set(names)]
    results = run_parts(chosen, asked.quick, asked.out)
    for key, figure in figures(results):
        low, high = figure["spread"]
        print(f"{key:<40} {figure['value']:>9g} {figure.get('unit', 'x'):<6} {low:g} … {high:g}, n = {figure['n']}")
    missed = [t for t in TARGETS if results["targets"].get(t.key) is False]
    for target in missed:
        print(f"MISSED {target.key}: {target.bound}")
    for target in (t for t in TARGETS if results["targets"].get(t.key, True) is None):
        print(f"not judged {target.key}: n is below {target.least_n} on this machine, in this time")
    print(asked.out / "index.html")
    failed = any("failed" in run for run in results["runs"].values())
    return 1 if failed or (missed and not asked.quick) else 0


if __name__ == "__main__":
    sys.exit(main())
