"""Kaggle Models in a rehearsal: mounted from given folders where Kaggle mounts them, and nothing beside the list."""

import json
from pathlib import Path
from typing import Any

import pytest

from build.core.errors import CheckFailed, UsageError
from build.run.mock import lay_out
from build.run.rehearse.plan import parse_models, read_plan
from kernel_src.runtime.weight_sources import find_model
from tests.build.run.rehearse.toys import WRITE, make_bundle, make_competition, make_notebook
from tests.build.typing_in import type_in

HANDLE = "timm/tf-efficientnet/pyTorch/tf-efficientnet-es/1"
PLACES = {
    "new": "models/timm/tf-efficientnet/pytorch/tf-efficientnet-es/1",
    "legacy": "tf-efficientnet/pytorch/tf-efficientnet-es/1",
}
LOOK = """
found = (ROOT / "input").rglob("*.safetensors")
Path("seen.json").write_text(json.dumps(sorted(str(path.relative_to(ROOT / "input")) for path in found)))
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A downloaded Model: its folder says nothing of its handle."""
    folder = tmp_path / "downloads" / "archive"
    (folder / "onnx").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "onnx" / "model.onnx").write_bytes(b"more")
    return folder


def metadata_of(folder: Path, *models: str) -> Path:
    return make_notebook(folder, [WRITE], model_sources=list(models)).with_name("kernel-metadata.json")


@pytest.mark.parametrize("layout", PLACES)
def test_the_verb_mounts_a_model_where_kaggle_does(tmp_path: Path, model: Path, layout: str) -> None:
    make_competition(tmp_path / "data")
    make_bundle(tmp_path / "bundle")
    cells = [LOOK, WRITE]
    make_notebook(tmp_path / "notebooks/i2b-toy-infer", cells, datasets=["i2b-toy-weights"], model_sources=[HANDLE])
    command = f"rehearse --experiment toy --data data --weights bundle --layout {layout} --out out"
    lacking = type_in(*command.split(), folder=tmp_path)
    assert lacking.returncode == 1 and f"pass --model {HANDLE}=DIR" in lacking.stderr
    typed = type_in(*command.split(), "--model", f"{HANDLE}={model}", folder=tmp_path)
    assert typed.returncode == 0, typed.stdout + typed.stderr
    seen = json.loads((tmp_path / "out" / "working" / "seen.json").read_text())
    assert seen == [f"{PLACES[layout]}/model.safetensors"]


@pytest.mark.parametrize("layout", PLACES)
def test_the_notebooks_resolver_finds_what_the_rehearsal_mounts(
    tmp_path: Path, model: Path, layout: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock = lay_out(
        tmp_path / "mock",
        competition_slug=None,
        data=make_competition(tmp_path / "data"),
        datasets={},
        models={HANDLE: model},
        layout=layout,
    )
    monkeypatch.setenv("KIT_KAGGLE_ROOT", str(mock.root))
    assert find_model(HANDLE, "model.safetensors") == mock.input / PLACES[layout]
    assert (mock.input / PLACES[layout] / "onnx" / "model.onnx").is_file(), "a Model is mounted as Kaggle holds it"
    assert (mock.input / PLACES[layout]).stat().st_mode & 0o222 == 0


def test_a_listed_model_without_a_folder_is_a_problem_whose_cure_can_be_typed(tmp_path: Path, model: Path) -> None:
    metadata = metadata_of(tmp_path, HANDLE)
    with pytest.raises(CheckFailed) as failed:
        read_plan(metadata, [])
    cure = failed.value.problems[0].cure
    assert f"pass --model {HANDLE}=DIR" in cure
    typed = cure.split("--model ")[1].split(",")[0].replace("DIR", str(model))
    assert read_plan(metadata, [], parse_models([typed])).models == {HANDLE: model}


def test_a_model_that_is_not_listed_is_not_mounted(tmp_path: Path, model: Path) -> None:
    other = HANDLE.removesuffix("1") + "2"
    with pytest.raises(CheckFailed) as failed:
        read_plan(metadata_of(tmp_path, HANDLE), [], {other: model})
    text = str(failed.value)
    assert len(failed.value.problems) == 2 and f"{HANDLE} is listed, but no folder" in text
    assert f"{other} ({model}) is not listed, so Kaggle would not mount it" in text


def test_two_models_at_one_place_of_the_legacy_layout_are_refused(tmp_path: Path, model: Path) -> None:
    twin = HANDLE.replace("timm/", "someone/")
    with pytest.raises(CheckFailed, match="differ in nothing but the owner"):
        read_plan(metadata_of(tmp_path, HANDLE, twin), [], {HANDLE: model, twin: model})


def test_an_archive_in_a_model_is_refused_for_it_was_not_unpacked(tmp_path: Path, model: Path) -> None:
    (model / "archive.tar.gz").write_bytes(b"")
    data = make_competition(tmp_path / "data")
    with pytest.raises(CheckFailed, match="archive.tar.gz: Kaggle unpacks archives"):
        lay_out(tmp_path / "mock", competition_slug=None, data=data, datasets={}, models={HANDLE: model}, layout="new")


@pytest.mark.parametrize("text", ["weights", f"{HANDLE}", f"{HANDLE}=", "timm/resnet=dir", f"{HANDLE}x=dir"])
def test_what_is_no_handle_and_folder_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(UsageError, match="owner/model/framework/variation/version=DIR"):
        parse_models([text])


def test_a_folder_that_is_not_there_and_a_model_given_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere: no such folder; --model owner/model"):
        read_plan(metadata_of(tmp_path, HANDLE), [], {HANDLE: tmp_path / "nowhere"})
    with pytest.raises(UsageError, match="given twice"):
        parse_models([f"{HANDLE}=a", f"{HANDLE}=b"])
