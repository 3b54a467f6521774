"""The inference notebook of an experiment that wants test-time training, built and run without a network."""

import csv
import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from build.run.rehearse import Report, rehearse
from build.run.rehearse.executed_cells import read_cells
from build.stitch import stitch
from build.weights.bundle import make_bundle
from kernel_src.competitions.biomass.constants import SLUG, TARGETS
from kernel_src.recipes import predictor
from tests.kernel_src.faults.forking import start_forked
from tests.kernel_src.kernels.running import ROOT

NAME, WEIGHTS = "i2b-tiny-infer", "i2b-tiny-weights"
HOW = predictor.TestTimeTraining(epochs=3, average=2, lr_factor=1.0)
# The file as it is when test-time training begins.
LOOK_FIRST = """
import shutil
def look_first(*some, healthy=TestTimeTrainingParts.train_on_test, **more):
    shutil.copyfile(submission_csv, working_folder() / "before.csv")
    return healthy(*some, **more)
TestTimeTrainingParts.train_on_test = staticmethod(look_first)
"""
KILLED = """
def killed(self, *some, healthy=AdaptedFold.take_step):
    if self.progress.step == 3:
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
    healthy(self, *some)
AdaptedFold.take_step = killed
"""


@pytest.fixture(scope="module")
def bundle(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run's, as if its experiment had wanted test-time training from the beginning."""
    home = tmp_path_factory.mktemp("wanting")
    run = Path(shutil.copytree(trained_run, home / "run"))
    config = json.loads((run / "config.json").read_text())
    config["experiment"]["predict"]["adapt"] = HOW.as_json()
    (run / "config.json").write_text(json.dumps(config))
    make_bundle(run, home / WEIGHTS, slug=WEIGHTS)
    return home / WEIGHTS


def run(
    bundle: Path, competition: Path, home: Path, planted: str = "", *, rerun: bool = True, whole: bool = False
) -> tuple[Report, Path]:
    """Rehearse the notebook that holds this one part; `whole`: Jupyter and the sandbox too, not a forked process."""
    parameters = {"BUNDLES": {WEIGHTS: 1.0}, "PARTS": ("biomass", "test_time_training"), "BATCH_SIZE": 4}
    content = json.loads(stitch(ROOT / "kernel_src/kernels/infer.py", ROOT, parameters).notebook)
    cell = {"cell_type": "code", "id": "planted", "metadata": {}, "source": LOOK_FIRST + planted, "outputs": []}
    (at,) = [i for i, one in enumerate(content["cells"]) if "\ndeadline_s = " in "".join(one["source"])]
    content["cells"].insert(at, cell | {"execution_count": None})
    folder = home / NAME
    folder.mkdir(parents=True)
    (folder / f"{NAME}.ipynb").write_text(json.dumps(content))
    metadata = {
        "id": f"OWNER/{NAME}",
        "title": NAME,
        "code_file": f"{NAME}.ipynb",
        "dataset_sources": [f"OWNER/{WEIGHTS}"],
        "competition_sources": [SLUG],
    }
    (folder / "kernel-metadata.json").write_text(json.dumps(metadata))
    with nullcontext() if whole else patch("build.run.rehearse.rehearsal.start_notebook", start_forked):
        report = rehearse(
            folder / f"{NAME}.ipynb",
            data=competition,
            hidden=competition if rerun else None,
            weights=[bundle],
            rerun=rerun,
            limit_s=300,
            memory_gb=8,
            out=home / "rehearsal",
            isolation="auto" if whole else "guard",
        )
    return report, home / "rehearsal" / "working"


@pytest.fixture(autouse=True)
def no_html(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rendering the executed notebook as a page costs seconds and proves nothing here."""
    monkeypatch.setattr("build.run.rehearse.rehearsal.render_html", lambda executed, html: Path(html).touch())


def printed_in(working: Path) -> str:
    """All that the cells printed."""
    cells = read_cells(working.parent / f"{NAME}.executed.ipynb").cells
    return "".join("".join(output.get("text", "")) for cell in cells for output in cell.outputs)


def grams(path: Path) -> np.ndarray:
    """(rows,) in the order of the table"""
    with path.open() as handle:
        return np.array([float(row["target"]) for row in csv.DictReader(handle)])


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.full)])
def test_the_notebook_learns_the_test_and_leaves_a_valid_submission_that_is_another(
    bundle: Path, tiny_competition: Path, tmp_path: Path, whole: bool
) -> None:
    report, working = run(bundle, tiny_competition, tmp_path, whole=whole)
    assert report.failure is None and not report.problems, (report.failure, report.problems)
    said = json.loads((working / "inference_report.json").read_text())
    assert not said["faults"] and said["plan"]["seconds"]["test_time_training"] > 0
    before, after = grams(working / "before.csv"), grams(working / "submission.csv")
    assert np.isfinite(after).all() and np.abs(after - before).max() > 0.01
    table = dict(zip([line.partition(",")[0] for line in (working / "submission.csv").open()][1:], after, strict=True))
    for name in {key.rpartition("__")[0] for key in table}:
        green, dead, clover, gdm, total = (table[f"{name}__{target}"] for target in TARGETS)
        assert gdm == pytest.approx(green + clover, abs=1e-3) and total == pytest.approx(gdm + dead, abs=1e-3)
    printed = printed_in(working)
    assert "; 3 epochs" in printed and "in miniature" not in printed and "epoch 3: loss" in printed


def test_outside_the_rerun_it_is_run_in_miniature(bundle: Path, tiny_competition: Path, tmp_path: Path) -> None:
    report, working = run(bundle, tiny_competition, tmp_path, rerun=False)
    assert report.failure is None and not report.problems, (report.failure, report.problems)
    assert "; 2 epochs" in (printed := printed_in(working)) and "in miniature" in printed


def test_a_process_that_is_killed_leaves_the_submission_from_before_byte_for_byte(
    bundle: Path, tiny_competition: Path, tmp_path: Path
) -> None:
    report, working = run(bundle, tiny_competition, tmp_path, KILLED)
    assert report.failure is None
    assert (working / "submission.csv").read_bytes() == (working / "before.csv").read_bytes()
    (fault,) = json.loads((working / "inference_report.json").read_text())["faults"]
    assert fault["part"] == "test-time training" and "was killed by SIGKILL" in fault["what"]
    assert fault["fallback"] == "the predictions from before stand" and fault["contained"]
