"""How long `make push-inference EXPERIMENT=demo` takes besides the rehearsal and Kaggle's own time.

Run `python bench/push.py [--json]` after `make demo` (it is run first if there is no out/demo). The very command, the
real client, the bundle and the submission of the demo; in Kaggle's place the tests' stand-in on this machine, polled
every 0.05 s, so what Kaggle itself would take is not in it. Nothing of this checkout's journal or ledger is touched:
the command runs in a folder of its own. Exits with 1 above the limit of 20 s.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from tests.build.kaggle.server import Server  # noqa: E402

LIMIT_S = 20.0
DEMO = REPOSITORY / "out" / "demo"
LINKS = (".venv", "Makefile", "build", "kernel_src", "notebooks", "datasets_meta", "pyproject.toml")
# The line that begins a step, whatever is told in between, and the line that ends it: name, seconds, word.
_STEP = re.compile(r"^\[\d+/\d+\] (\w+): .*\n(?:      (?!done).*\n)*      done in ([\d.]+) s(?:: (.*))?$", re.M)
COMMAND = ("make", "push-inference", "EXPERIMENT=demo")


def main() -> int:
    """Push twice, print a table, compare with the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    as_json = parser.parse_args().json
    if not (DEMO / "bundle" / "manifest.json").is_file():
        print("no out/demo yet: `make demo` first (minutes)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "build", "demo"], cwd=REPOSITORY, check=True)
    with tempfile.TemporaryDirectory() as name, Server() as server:
        folder, environment = lay_out(Path(name)), os.environ | server.environment(Path(name) / "home")
        server.site.outputs = {"i2b-demo-infer": {"submission.csv": submission()}}
        first_s, told = push(folder, environment)
        again_s, told_again = push(folder, environment)
        summary = server.site.summary()
    steps = [(step, float(seconds), note) for step, seconds, note in _STEP.findall(told)]
    rehearsal_s = sum(seconds for step, seconds, _ in steps if step == "rehearsal")
    besides_s = round(first_s - rehearsal_s, 1)
    result = {
        "seconds_besides_rehearsal": besides_s,
        "limit_s": LIMIT_S,
        "rehearsal_s": rehearsal_s,
        "again_s": round(again_s, 1),
        "requests": len(server.log),
        "steps": {step: seconds for step, seconds, _ in steps},
    }
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        for step, seconds, note in steps:
            print(f"{step:<11}{seconds:6.1f} s  {note}")
        print(f"{'in all':<11}{first_s:6.1f} s  with make; {besides_s} s besides the rehearsal, limit {LIMIT_S:.0f}")
        print(f"{'again':<11}{again_s:6.1f} s  {told_again.strip().splitlines()[-1]}")
    once = [len(steps), *summary["datasets"].values(), *summary["kernels"].values(), len(summary["submissions"])]
    if once != [12, 1, 1, 1]:
        print(f"steps, dataset versions, kernel versions, submissions: {once}, not [12, 1, 1, 1]", file=sys.stderr)
        return 1
    return int(besides_s > LIMIT_S)


def lay_out(folder: Path) -> Path:
    """Make a folder in which the Makefile works and whose journal and ledger are its own."""
    for name in LINKS:
        (folder / name).symlink_to(REPOSITORY / name)
    (folder / "out").mkdir()
    (folder / "out" / "demo").symlink_to(DEMO)
    (folder / "home" / "tmp").mkdir(parents=True)
    return folder


def submission() -> bytes:
    """Return what the demo's inference wrote when it was rehearsed."""
    return next((DEMO / "rehearsal").rglob("submission.csv")).read_bytes()


def push(folder: Path, environment: dict[str, str]) -> tuple[float, str]:
    """Run the command; return seconds and what it printed."""
    environment = {name: value for name, value in environment.items() if name != "KAGGLE_API_TOKEN"}
    start = time.perf_counter()
    done = subprocess.run(COMMAND, cwd=folder, env=environment, text=True, capture_output=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"`{' '.join(COMMAND)}` failed:\n{done.stdout}{done.stderr}")
    return seconds, done.stdout


if __name__ == "__main__":
    sys.exit(main())
