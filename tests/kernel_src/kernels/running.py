"""Running the kernels both ways: as plain scripts of the package, and as built notebooks."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# The real code on a net of 0.1 M parameters: seconds instead of hours.
TINY = {
    "encoder.timm": "test_efficientnet",
    "encoder.weights": "",
    "pictures.height_px": 48,
    "pictures.width_px": 96,
    "head.hidden": [8],
    "schedule.epochs": 2,
    "batch.size": 4,
    "data.split.folds": 2,
    "augment.preset": "moderate",
}


def environment(kaggle: Path, scratch: Path) -> dict[str, str]:
    scratch.mkdir(exist_ok=True)
    return {
        **os.environ,
        "KIT_KAGGLE_ROOT": str(kaggle),
        "PYTHONPATH": str(ROOT),
        "MPLBACKEND": "Agg",
        "TMPDIR": str(scratch),
    }


def run_script(kernel: str, parameters: Mapping[str, object], kaggle: Path, scratch: Path) -> str:
    """Run a kernel as the plain script it is, with other values in its parameters cell."""
    text = (ROOT / "kernel_src" / "kernels" / f"{kernel}.py").read_text()
    lines = text.splitlines()
    for node in ast.parse(text).body:  # a value may take several lines
        name = getattr(node.targets[0], "id", "") if isinstance(node, ast.Assign) else ""
        if name in parameters:
            lines[node.lineno - 1] = f"{name} = {parameters[name]!r}"
            lines[node.lineno : node.end_lineno] = [""] * (node.end_lineno - node.lineno)
    scratch.mkdir(parents=True, exist_ok=True)
    script = scratch / f"{kernel}_main.py"
    script.write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        [sys.executable, script], env=environment(kaggle, scratch / "tmp"), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def run_notebook(kernel: str, parameters: Mapping[str, object], kaggle: Path, scratch: Path) -> str:
    """Stitch the kernel with these parameters and execute the notebook; return what it printed."""
    from build.stitch import stitch

    scratch.mkdir(parents=True, exist_ok=True)
    stitched = stitch(ROOT / "kernel_src" / "kernels" / f"{kernel}.py", ROOT, parameters)
    notebook, executed = scratch / f"{kernel}.ipynb", scratch / f"{kernel}.executed.ipynb"
    notebook.write_bytes(stitched.notebook)
    # Saved once, at the end: after each of 150 cells takes longer than the cells.
    options = ("--no-progress-bar", "--no-request-save-on-cell-execute", "-k", "python3")
    done = subprocess.run(
        [sys.executable, "-m", "papermill", notebook, executed, *options],
        env={**environment(kaggle, scratch / "tmp"), "PYTHONPATH": ""},
        cwd=scratch,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    cells = json.loads(executed.read_text())["cells"]
    outputs = [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]
    return "".join("".join(output.get("text", "")) for output in outputs if output.get("name") == "stdout")


RUNNERS: dict[str, Callable[..., str]] = {"package": run_script, "notebook": run_notebook}


def lay_out_kaggle(root: Path, competition: Path, datasets: Mapping[str, Path], slug: str = "csiro-biomass") -> Path:
    """Make `root`/kaggle with the competition of a slug and the datasets linked in."""
    inputs = root / "kaggle" / "input"
    (inputs / "competitions").mkdir(parents=True)
    (inputs / "datasets" / "owner").mkdir(parents=True)
    (root / "kaggle" / "working").mkdir()
    (inputs / "competitions" / slug).symlink_to(competition)
    for slug, folder in datasets.items():
        (inputs / "datasets" / "owner" / slug).symlink_to(folder)
    return root
