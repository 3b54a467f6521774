"""Pseudo-labels are usable inside the inference notebook, on the hidden test, within a budget of seconds."""

from pathlib import Path

import pytest

from build.core.submission_file import read_column, submission_problems
from build.weights.bundle import make_bundle
from tests.kernel_src.kernels.running import lay_out_kaggle, run_notebook


@pytest.mark.full
def test_refining_changes_the_submission_and_keeps_it_valid(
    trained_run: Path, tiny_competition: Path, tmp_path: Path
) -> None:
    make_bundle(trained_run, tmp_path / "bundle", slug="i2b-demo-weights")
    written = {}
    for seconds in (0, 60):
        root = lay_out_kaggle(tmp_path / str(seconds), tiny_competition, {"i2b-demo-weights": tmp_path / "bundle"})
        run_notebook("infer", {"PSEUDO_LABEL_SECONDS": seconds}, root, tmp_path / f"scratch{seconds}")
        submission = root / "kaggle/working/submission.csv"
        assert submission_problems(submission, read_column(tiny_competition / "test.csv", "sample_id")) == []
        written[seconds] = submission.read_bytes()
    assert written[0] != written[60]
