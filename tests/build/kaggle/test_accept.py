"""What a preflight saw goes into build/core/image.py, and nothing else can get in there with it."""

import copy
import os
import re
import runpy
import shutil
from pathlib import Path

import pytest

from build.core import image
from build.core.errors import CheckFailed
from build.kaggle.accept import IMAGE, read_constants, read_seen, write_seen

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
def copy_of_image(tmp_path: Path) -> Path:
    return Path(shutil.copyfile(IMAGE, tmp_path / "image.py"))


def changed(**parts):
    return copy.deepcopy(REPORT) | parts


def test_versions_come_from_the_report_and_the_rest_of_the_file_stays(copy_of_image: Path) -> None:
    before = copy_of_image.read_text()
    assert write_seen(read_seen(REPORT, "preflight.json"), copy_of_image)
    after = runpy.run_path(str(copy_of_image))
    assert (after["SEEN_PYTHON"], after["SEEN_LAYOUT"], after["SEEN_GPUS"]) == (
        "3.13.1",
        "new",
        ("Tesla T4 sm_75",) * 2,
    )
    assert {name: after["IMPORTS"][name].version for name in ("torch", "timm", "cv2", "numpy")} == {
        "torch": "2.11.0",
        "timm": "1.0.29",
        "cv2": "4.12.0.88",
        "numpy": image.IMPORTS["numpy"].version,
    }
    assert "2026-11-24" in after["IMPORTS"]["timm"].note

    def outside(text: str) -> str:
        return re.sub(r"(?s)# preflight: begin.*# preflight: end", "", text)

    assert outside(copy_of_image.read_text()) == outside(before)


def test_accepting_again_changes_nothing_and_a_newer_report_replaces_all_of_the_older(copy_of_image: Path) -> None:
    seen = read_seen(REPORT, "preflight.json")
    assert [write_seen(seen, copy_of_image), write_seen(seen, copy_of_image)] == [True, False]
    newer = read_seen(changed(versions={"numpy": {"numpy": "2.2.0"}}, machine={"gpus": []}), "preflight.json")
    assert write_seen(newer, copy_of_image)
    values = read_constants(copy_of_image.read_text())
    assert (values["SEEN_VERSIONS"], values["SEEN_GPUS"]) == ({"numpy": "2.2.0"}, ())


def test_the_written_file_is_as_ruff_would_format_it(copy_of_image: Path) -> None:
    import subprocess

    for report in (REPORT, changed(machine={"gpus": REPORT["machine"]["gpus"][:1]}), changed(machine={"gpus": []})):
        write_seen(read_seen(report, "preflight.json"), copy_of_image)
        done = subprocess.run(
            [".venv/bin/ruff", "format", "--check", "--line-length", "120", copy_of_image],
            cwd=Path(__file__).resolve().parents[3],
            capture_output=True,
        )
        assert done.returncode == 0, done.stdout


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
    ],
)
def test_a_value_that_is_not_what_it_claims_is_refused(report: dict, said: str) -> None:
    with pytest.raises(CheckFailed, match=said):
        read_seen(report, "preflight.json")


def test_a_refusal_names_everything_that_is_wrong() -> None:
    with pytest.raises(CheckFailed) as failed:
        read_seen({}, "preflight.json")
    assert len(failed.value.problems) == 4  # time, Python, layout, versions


@pytest.mark.parametrize("line", ["# preflight: begin", "# preflight: end"])
@pytest.mark.parametrize("times", [0, 2])
def test_a_file_without_its_two_lines_is_left_alone(copy_of_image: Path, line: str, times: int) -> None:
    text = copy_of_image.read_text()
    at = next(one for one in text.splitlines() if one.startswith(line))
    copy_of_image.write_text(spoilt := text.replace(at, "\n".join([at] * times)))
    with pytest.raises(CheckFailed, match="once each"):
        write_seen(read_seen(REPORT, "preflight.json"), copy_of_image)
    assert copy_of_image.read_text() == spoilt


def test_a_failing_disk_leaves_the_old_file(copy_of_image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = copy_of_image.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        write_seen(read_seen(REPORT, "preflight.json"), copy_of_image)
    assert copy_of_image.read_bytes() == before
    assert list(copy_of_image.parent.iterdir()) == [copy_of_image]
