"""The built training notebook, rehearsed: with pseudo-labels as a dataset, and on a GPU that cannot compute."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from build.notebooks.builder import build_notebook
from build.run.rehearse.rehearsal import rehearse
from build.weights.bundle import make_bundle
from build.weights.pseudo_label import label
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.competitions.kernel_cards import kernel_card
from kernel_src.recipes.changes import changed
from tests.kernel_src.kernels.running import TINY


def built(changes: dict[str, object], folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Build the demo's training notebook as if the experiment itself said the changes; return its path."""
    patch.setitem(EXPERIMENTS, "demo", changed(EXPERIMENTS["demo"], changes))
    card = kernel_card("demo", "train")
    made = build_notebook(replace(card, parameters={**card.parameters, "CHANGES": changes}))
    for path, content in made.files(folder).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return next(iter(made.files(folder)))


@pytest.mark.full
def test_a_gpu_that_cannot_compute_stops_the_training_in_its_first_seconds(
    tiny_competition: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = built(TINY, tmp_path, monkeypatch)
    report = rehearse(notebook, data=tiny_competition, out=tmp_path / "out", device="p100")
    assert not report.ok
    (problem,) = [problem for problem in report.problems if "not trained" in problem.what]
    assert "Tesla P100" in problem.what and "CUDA_VISIBLE_DEVICES=-1" in problem.what and "T4 x2" in str(problem)
    assert problem.where.startswith("kernel_src/training/launch.py:")
    assert not (tmp_path / "out/working/run").exists(), "nothing was trained"


@pytest.mark.full
def test_pseudo_labels_are_mounted_trained_on_and_the_run_names_the_notebooks_sources(
    trained_run: Path, tiny_competition: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = TINY | {
        "schedule.epochs": 1,
        "data.pseudo": {"dataset": "i2b-demo-pseudo-labels", "weight": 0.5},
    }
    notebook = built(changes, tmp_path, monkeypatch)
    assert "OWNER/i2b-demo-pseudo-labels" in (notebook.parent / "kernel-metadata.json").read_text()
    make_bundle(trained_run, tmp_path / "bundle", slug="i2b-tiny-weights")
    photographs = tmp_path / "meadow"
    photographs.mkdir()
    for number, path in enumerate(sorted((tiny_competition / "test").iterdir())):
        (photographs / f"meadow-{number}.jpg").write_bytes(path.read_bytes())
    labels = tmp_path / "i2b-demo-pseudo-labels"
    label(EXPERIMENTS["demo"], tiny_competition, [tmp_path / "bundle"], [photographs], labels)
    report = rehearse(notebook, data=tiny_competition, weights=[labels], out=tmp_path / "out")
    assert report.ok, report.problems
    printed = (tmp_path / "out" / f"{notebook.stem}.executed.ipynb").read_text()
    assert "pseudo-labels: 2 photographs at 0.5 of the weight" in printed
    config = json.loads((tmp_path / "out/working/run/config.json").read_text())
    assert config["source_sha256"] == json.loads(notebook.read_bytes())["metadata"]["stitch"]["source_sha256"]
