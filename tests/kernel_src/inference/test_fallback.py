"""The submission of the first second is complete and valid, for any number of images."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from build.core.bundle_files import file_entry
from build.core.submission_file import read_column, submission_problems
from kernel_src.competitions.biomass.constants import IDENTITIES, TARGETS, TRAINING_MEANS_G
from kernel_src.competitions.biomass.hidden_table import read_hidden_test, save_predictions
from kernel_src.competitions.held_facts import facts
from kernel_src.inference.fallback import Attached, find_bundles, training_means, verify_bundles
from kernel_src.runtime import manifest, mounts
from kernel_src.runtime.faults import FaultLog, NotContained

ROOT = Path(__file__).resolve().parents[3]


def write_bundle(folder: Path, *grams: float) -> Path:
    folder.mkdir(parents=True)
    config = {"format": 3, "target_mean": dict(zip(TARGETS, grams, strict=True))}
    (folder / "config.json").write_text(json.dumps(config))
    listed = {"format": 3, "files": {"config.json": file_entry(folder / "config.json")}}
    (folder / "manifest.json").write_text(json.dumps(listed))
    return folder


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(mounts, "kaggle_root", lambda: tmp_path)
    write_bundle(tmp_path / "input/a", 4, 4, 4, 8, 12)
    write_bundle(tmp_path / "input/b", 8, 0, 0, 8, 8)
    return tmp_path / "input"


def test_means_are_weighed_by_the_shares(inputs: Path) -> None:
    found = find_bundles({"a": 1.0, "b": 3.0}, FaultLog(strict=True))
    assert training_means(found) == pytest.approx(dict(zip(TARGETS, (7, 1, 1, 8, 9), strict=True)))


def test_the_fallback_is_a_valid_submission_for_the_test_table(
    inputs: Path, tmp_path: Path, tiny_competition: Path
) -> None:
    log = FaultLog(strict=True)
    test = read_hidden_test(tiny_competition, log)
    save_predictions(tmp_path / "submission.csv", test, [], training_means(find_bundles({"a": 1.0}, log)))
    assert list(test.row_ids) == read_column(tiny_competition / "test.csv", "sample_id")
    sample = read_column(tiny_competition / "sample_submission.csv", "sample_id")
    assert submission_problems(tmp_path / "submission.csv", sample) == []


def test_the_competitions_own_means_keep_both_identities() -> None:
    means = TRAINING_MEANS_G
    assert all(means[total] == pytest.approx(sum(means[part] for part in parts)) for total, parts in IDENTITIES.items())


def test_a_missing_bundle_is_an_error_and_in_the_rerun_the_others_count(inputs: Path, capsys: object) -> None:
    with pytest.raises(NotContained, match="bundle: nowhere cannot be used.*nowhere is not mounted"):
        find_bundles({"a": 1.0, "nowhere": 1.0}, FaultLog(strict=True))
    log = FaultLog(strict=False)
    found = find_bundles({"a": 1.0, "nowhere": 1.0}, log)
    assert training_means(found)["Dry_Total_g"] == 12 and [bundle.folder is None for bundle in found] == [False, True]
    assert [fault.part for fault in log.faults] == ["bundle"]
    assert training_means([Attached(slug="nowhere", share=1.0)]) == TRAINING_MEANS_G


def test_a_damaged_file_is_an_error_and_in_the_rerun_it_is_left_out(inputs: Path) -> None:
    (inputs / "a" / "config.json").write_text((inputs / "a" / "config.json").read_text().replace("4", "5"))
    with pytest.raises(NotContained, match=r"config.json has another sha256.*upload the bundle again"):
        verify_bundles(find_bundles({"a": 1.0}, FaultLog(strict=True)), FaultLog(strict=True))
    log = FaultLog(strict=False)
    (bundle,) = verify_bundles(find_bundles({"a": 1.0}, log), log)
    assert bundle.damaged == {"config.json"} and len(log.faults) == 1


def test_a_disk_that_fails_while_a_file_is_hashed_costs_that_file_in_the_rerun(
    inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = inputs / "a" / "fold0.safetensors"
    weights.write_bytes(b"weights")
    listed = json.loads((inputs / "a" / "manifest.json").read_text())
    listed["files"]["fold0.safetensors"] = file_entry(weights)
    (inputs / "a" / "manifest.json").write_text(json.dumps(listed))
    healthy = manifest.sha256_of

    def failing(path: Path) -> str:
        if path == weights:
            raise OSError(5, "Input/output error", str(path))
        return healthy(path)

    monkeypatch.setattr(manifest, "sha256_of", failing)
    with pytest.raises(NotContained, match=r"fold0.safetensors cannot be read \(Input/output error\)"):
        verify_bundles(find_bundles({"a": 1.0, "b": 1.0}, FaultLog(strict=True)), FaultLog(strict=True))
    log = FaultLog(strict=False)
    first, second = verify_bundles(find_bundles({"a": 1.0, "b": 1.0}, log), log)
    assert first.damaged == {"fold0.safetensors"} and not second.damaged
    assert [fault.part for fault in log.faults] == ["bundle"]


@pytest.mark.parametrize("shares", [[1.0, -0.5], [0.0, 0.0]])
def test_shares_that_cannot_be_meant_are_refused(inputs: Path, shares: list[float]) -> None:
    with pytest.raises(ValueError, match="none may be negative, and one must be above 0"):
        find_bundles(dict(zip("ab", shares, strict=True)), FaultLog(strict=False))


def test_the_fallback_needs_nothing_but_the_standard_library() -> None:
    """It must exist before torch is imported, and whether or not torch can be."""
    code = (
        "import sys, kernel_src.inference.fallback, kernel_src.competitions.held_facts, kernel_src.runtime.mounts;"
        "heavy = {'torch', 'numpy', 'pandas', 'cv2'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_training_means_of_a_config_that_was_changed_are_not_believed(inputs: Path) -> None:
    """A flipped digit is still JSON; the sums it breaks would make the first submission invalid."""
    (inputs / "a" / "config.json").write_text((inputs / "a" / "config.json").read_text().replace("12", "92"))
    assert training_means(find_bundles({"a": 1.0}, FaultLog(strict=False))) == TRAINING_MEANS_G


def test_training_means_that_are_no_grams_make_a_bundle_unusable(inputs: Path) -> None:
    write_bundle(inputs / "c", 4, -1, 4, 8, 12)
    with pytest.raises(NotContained, match="are not what the targets can be"):
        find_bundles({"c": 1.0}, FaultLog(strict=True))


def test_a_full_disk_in_the_first_second_is_an_error_and_contained_in_the_rerun(
    tiny_competition: Path, tmp_path: Path
) -> None:
    test = read_hidden_test(tiny_competition, FaultLog(strict=True))
    nowhere = tmp_path / "no-such-folder" / "submission.csv"
    with pytest.raises(NotContained, match="disk: the submission cannot be saved"):
        facts().save_first(nowhere, test, TRAINING_MEANS_G, FaultLog(strict=True))
    log = FaultLog(strict=False)
    facts().save_first(nowhere, test, TRAINING_MEANS_G, log)
    assert [fault.part for fault in log.faults] == ["disk"]
