"""`make preflight` through the real client: pushed, waited for, fetched, compared, taken over."""

import json
import shutil
from pathlib import Path

import pytest

from build.core.errors import CheckFailed, UsageError
from build.core.image import IMAGE, IMPORTS, read_image
from build.kaggle import answers, preflight
from build.kaggle.command import preflight_verb
from tests.build.kaggle.preflight_report import AS_ASSUMED

SLUG = "i2b-preflight"


@pytest.fixture
def site(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A site whose preflight run leaves a report in which timm is newer than assumed."""
    monkeypatch.chdir(tmp_path)
    image = Path(shutil.copyfile(IMAGE, tmp_path / "image.json"))
    monkeypatch.setattr(preflight, "IMAGE", image)
    monkeypatch.setattr(preflight.accept_report, "__defaults__", (image,))
    monkeypatch.setattr(answers, "ACCEPTED", tmp_path / "answers.json")
    leave(server.site, AS_ASSUMED | {"versions": AS_ASSUMED["versions"] | {"timm": {"timm": "9.9.9"}}})
    return server.site


def leave(site, report: object) -> None:
    site.outputs[SLUG] = {"preflight.json": json.dumps(report).encode(), f"{SLUG}.log": b"[]"}


def test_the_live_image_is_looked_at_compared_and_accepted(site, server, tmp_path: Path, capsys) -> None:
    preflight_verb()
    printed = capsys.readouterr().out
    assert [line.split() for line in printed.splitlines() if "timm" in line] == [
        ["differs", "timm", IMPORTS["timm"].version, "9.9.9"]
    ]
    assert "1 differ" in printed and "preflight --accept" in printed
    preflight_verb(accept=True)
    assert '+      "timm": "9.9.9",' in capsys.readouterr().out
    _, seen = read_image(tmp_path / "image.json")
    assert (seen.versions["timm"], seen.layout, seen.source) == ("9.9.9", "new", f"kim/{SLUG} version 1")


def test_it_is_pushed_private_offline_and_on_the_right_machine(site, server) -> None:
    preflight_verb(as_json=True)
    (body,) = server.bodies("SaveKernel")
    assert (body["slug"], body["machineShape"], body["enableGpu"]) == (f"kim/{SLUG}", "NvidiaTeslaT4", True)
    assert body["isPrivate"] is True and not body.get("enableInternet", False)
    assert body["competitionDataSources"] == ["csiro-biomass"] and "datasetDataSources" not in body


def test_a_second_call_pushes_nothing_and_again_looks_once_more(site, server, capsys) -> None:
    for _ in range(2):
        preflight_verb(as_json=True)
    assert server.names().count("SaveKernel") == 1
    preflight_verb(again=True, as_json=True)
    assert server.names().count("SaveKernel") == 2
    preflight_verb(as_json=True)
    assert server.names().count("SaveKernel") == 2
    last = capsys.readouterr().out.split("\n}\n")[-2] + "}"
    assert json.loads(last)["version"] == 2


def test_again_after_an_interruption_goes_on_instead_of_pushing_twice(site, server, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("build.kaggle.preflight.wait_for_run", interrupt)
        with pytest.raises(SystemExit, match="130"):
            preflight_verb(as_json=True)
    preflight_verb(again=True, as_json=True)
    assert server.names().count("SaveKernel") == 1


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_nothing_to_accept_says_what_to_run_first(site) -> None:
    with pytest.raises(UsageError, match="make preflight"):
        preflight_verb(accept=True)


@pytest.mark.parametrize(
    "report",
    [
        {},
        [],
        AS_ASSUMED | {"versions": {"timm": {"timm": '1"\nimport os'}}},
        AS_ASSUMED | {"machine": {"gpus": [], "memory_gb": "much"}},
        AS_ASSUMED | {"machine": {}},
        AS_ASSUMED | {"environment": 3},
    ],
)
def test_a_report_that_is_none_ends_with_a_message_and_is_not_accepted(site, tmp_path: Path, report: object) -> None:
    before = (tmp_path / "image.json").read_text()
    leave(site, report)
    with pytest.raises(CheckFailed):
        preflight_verb(as_json=True)
    with pytest.raises(UsageError):
        preflight_verb(accept=True, as_json=True)
    assert (tmp_path / "image.json").read_text() == before


def test_a_run_without_a_report_says_so(site) -> None:
    site.outputs[SLUG] = {"other.txt": b""}
    with pytest.raises(CheckFailed, match="without it"):
        preflight_verb(as_json=True)
