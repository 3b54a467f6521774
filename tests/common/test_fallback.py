"""The submission of the first second is complete and valid, for any number of images."""

import json
from pathlib import Path

import pytest

from kernel_src.common.competition import TARGETS
from kernel_src.common.fallback import training_means, write_fallback
from kernel_src.common.manifest import BundleError
from kernel_src.common.submission import read_column, submission_problems


def bundle(folder: Path, *grams: float) -> Path:
    folder.mkdir()
    config = {"format": 1, "target_mean_g": dict(zip(TARGETS, grams, strict=True))}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_means_are_weighed_by_the_shares(tmp_path: Path) -> None:
    shares = {bundle(tmp_path / "a", 4, 4, 4, 8, 12): 1.0, bundle(tmp_path / "b", 8, 0, 0, 8, 8): 3.0}
    assert training_means(shares) == pytest.approx(dict(zip(TARGETS, (7, 1, 1, 8, 9), strict=True)))


def test_the_fallback_is_a_valid_submission_for_the_test_table(tmp_path: Path, tiny_competition: Path) -> None:
    means = training_means({bundle(tmp_path / "a", 4, 5, 6, 10, 15): 1.0})
    names = write_fallback(tmp_path / "submission.csv", tiny_competition / "test.csv", means)
    assert names == read_column(tiny_competition / "test.csv", "sample_id") and len(names) == 15
    sample = read_column(tiny_competition / "sample_submission.csv", "sample_id")
    assert submission_problems(tmp_path / "submission.csv", sample) == []


def test_the_fallback_that_a_trained_run_carries_keeps_both_identities(
    trained_run: Path, tmp_path: Path, tiny_competition: Path
) -> None:
    write_fallback(tmp_path / "s.csv", tiny_competition / "test.csv", training_means({trained_run: 1.0}))
    sample = read_column(tiny_competition / "sample_submission.csv", "sample_id")
    assert submission_problems(tmp_path / "s.csv", sample) == []


def test_a_bundle_without_config_and_an_unknown_target_are_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="config.json is missing"):
        training_means({tmp_path: 1.0})
    (tmp_path / "test.csv").write_text("sample_id\nA__Moss_g\n")
    with pytest.raises(ValueError, match="A__Moss_g"):
        write_fallback(tmp_path / "s.csv", tmp_path / "test.csv", dict.fromkeys(TARGETS, 1.0))


def test_the_fallback_needs_nothing_but_the_standard_library() -> None:
    """It must exist before torch is imported, and whether or not torch can be."""
    import subprocess
    import sys

    code = (
        "import sys, kernel_src.common.fallback, kernel_src.common.mounts;"
        "heavy = {'torch', 'numpy', 'pandas', 'cv2'} & set(sys.modules); assert not heavy, heavy"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("shares", [[], [0.0, 0.0], [2.0, -1.0]])
def test_shares_that_mean_nothing_are_refused_at_once(shares: list[float], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none may be negative, and one must be above 0"):
        training_means({tmp_path / str(number): share for number, share in enumerate(shares)})
