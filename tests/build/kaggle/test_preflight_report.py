"""What a preflight reports: compared with the assumptions, kept as data, and nothing else can get in there with it."""

import copy
import os
import runpy
import shutil
from pathlib import Path

import pytest

from build.core.errors import CheckFailed
from build.core.image import IMAGE, IMPORTS, read_image
from build.kaggle.preflight_report import accept_report, compare, read_seen
from tests.build.kaggle.preflight_report import AS_ASSUMED

REPORT = {
    "format": 1,
    "time": "2026-11-24T10:00:00Z",
    "python": "3.13.1",
    "versions": {
        "torch": {"torch": "2.11.0+cu128"},
        "timm": {"timm": "1.0.29"},
        "cv2": {"opencv-contrib-python": "4.12.0.88", "opencv-python": "4.12.0.88"},
        "tqdm": {},
    },
    "machine": {"gpus": [{"name": "Tesla T4", "capability": "sm_75"}, {"name": "Tesla T4", "capability": "sm_75"}]},
    "mounts": {"layout": "new"},
}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return Path(shutil.copyfile(IMAGE, tmp_path / "image.json"))


def changed(**parts):
    return copy.deepcopy(REPORT) | parts


def test_what_was_seen_is_kept_with_its_time_and_run_and_the_lists_stay(image: Path) -> None:
    listed, _ = read_image(image)
    diff = accept_report(read_seen(REPORT, "preflight.json", "kim/i2b-preflight version 3"), image)
    assert '+    "time": "2026-11-24T10:00:00Z",' in diff and '+      "timm": "1.0.29",' in diff
    after, seen = read_image(image)
    assert after == listed
    assert (seen.time, seen.source) == ("2026-11-24T10:00:00Z", "kim/i2b-preflight version 3")
    assert (seen.python, seen.layout, seen.gpus) == ("3.13.1", "new", ("Tesla T4 sm_75",) * 2)
    assert seen.versions == {"cv2": "4.12.0.88", "timm": "1.0.29", "torch": "2.11.0"}


def test_what_was_seen_counts_for_more_than_the_lists(image: Path, tmp_path: Path) -> None:
    shutil.copyfile(IMAGE.with_suffix(".py"), tmp_path / "image.py")
    accept_report(read_seen(REPORT, "preflight.json"), image)
    after = runpy.run_path(str(tmp_path / "image.py"))
    assert after["PYTHON"] == "3.13.1"
    assert {name: after["IMPORTS"][name].version for name in ("torch", "timm", "cv2", "numpy")} == {
        "torch": "2.11.0",
        "timm": "1.0.29",
        "cv2": "4.12.0.88",
        "numpy": after["LISTED"].versions["numpy"],
    }


def test_accepting_again_changes_nothing_and_a_newer_report_replaces_all_of_the_older(image: Path) -> None:
    seen = read_seen(REPORT, "preflight.json")
    assert [bool(accept_report(seen, image)), bool(accept_report(seen, image))] == [True, False]
    newer = read_seen(changed(versions={"numpy": {"numpy": "2.2.0"}}, machine={"gpus": []}), "preflight.json")
    assert accept_report(newer, image)
    assert read_image(image)[1] == newer and newer.gpus == () and newer.versions == {"numpy": "2.2.0"}


def test_a_damaged_file_is_left_alone(image: Path) -> None:
    image.write_text(damaged := image.read_text()[:-9])
    with pytest.raises(CheckFailed, match="cannot be read"):
        accept_report(read_seen(REPORT, "preflight.json"), image)
    assert image.read_text() == damaged


EVIL = '1.0"\nimport os\nos.system("echo evil")\nX = "'


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (changed(python=EVIL), "python is"),
        (changed(time='2026"'), "time is"),
        (changed(versions={"timm": {"timm": EVIL}}), "the version of timm"),
        (changed(versions={"timm": {"timm": None}}), "the version of timm"),
        (changed(versions={"cv2": {"a": "4.1", "b": "4.2"}}), "several packages"),
        (changed(versions={}), "no package"),
        (changed(versions=["timm"]), "no package"),
        (changed(versions={"evil": {"evil": "1"}}), "no package"),
        (changed(machine={"gpus": [{"name": 'T4"', "capability": "sm_75"}]}), "a GPU is"),
        (changed(machine={"gpus": ["T4"]}), "a GPU is"),
        (changed(mounts={"layout": "missing"}), "the mounts' layout is 'missing'"),
        ({}, "time is"),
        (changed(machine={}, mounts=3), "the mounts' layout is"),
    ],
)
def test_a_value_that_is_not_what_it_claims_is_refused(report: dict, said: str) -> None:
    with pytest.raises(CheckFailed, match=said):
        read_seen(report, "preflight.json")


def test_a_refusal_names_everything_that_is_wrong() -> None:
    with pytest.raises(CheckFailed) as failed:
        read_seen({}, "preflight.json")
    assert len(failed.value.problems) == 4  # time, Python, layout, versions


def test_a_failing_disk_leaves_the_old_file(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = image.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        accept_report(read_seen(REPORT, "preflight.json"), image)
    assert image.read_bytes() == before
    assert list(image.parent.iterdir()) == [image]


def verdicts(report: dict) -> dict[str, str]:
    return {one.what: one.verdict for one in compare(report)}


def test_what_is_as_assumed_is_ok_and_an_unknown_version_is_learnt() -> None:
    found = verdicts(AS_ASSUMED)
    learnt = {name for name, known in IMPORTS.items() if not known.version}
    assert {name for name, verdict in found.items() if verdict == "learnt"} == learnt
    assert "differs" not in found.values()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"python": "3.12.1"}, "Python"),
        ({"python": "3.130.1"}, "Python"),
        ({"versions": {}}, "torch"),
        ({"machine": AS_ASSUMED["machine"] | {"gpus": AS_ASSUMED["machine"]["gpus"][:1]}}, "GPUs"),
        ({"machine": AS_ASSUMED["machine"] | {"device": {"kind": "cpu", "fault": "no kernels"}}}, "device"),
        ({"machine": AS_ASSUMED["machine"] | {"memory_gb": 16.0}}, "memory"),
        ({"mounts": {"layout": "missing"}}, "mounts"),
        ({"environment": ["HOME"]}, "KAGGLE_KERNEL_RUN_TYPE"),
        ({"environment": ["KAGGLE_IS_COMPETITION_RERUN", "KAGGLE_KERNEL_RUN_TYPE"]}, "KAGGLE_IS_COMPETITION_RERUN"),
    ],
)
def test_each_assumption_that_does_not_hold_is_marked(change: dict, what: str) -> None:
    assert verdicts(AS_ASSUMED | change)[what] == "differs"


def test_the_local_part_of_a_version_does_not_count() -> None:
    report = AS_ASSUMED | {
        "versions": AS_ASSUMED["versions"] | {"torch": {"torch": f"{IMPORTS['torch'].version}+cu128"}}
    }
    assert verdicts(report)["torch"] == "ok"
