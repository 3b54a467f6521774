"""A downloaded file becomes the dataset that experiments name, or nothing is left."""

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file

from build.core.bundle_files import verify_manifest
from build.core.errors import CheckFailed, UsageError
from build.run.mock import dataset_slug
from build.weights.checkpoints import read_checkpoint
from build.weights.command import weights_verb
from build.weights.conversion import make_weights
from kernel_src.runtime.weight_sources import SOURCE_OF, WEIGHT_SOURCES, WeightSource
from kernel_src.training.checkpoint import save_tensors
from tests.kernel_src.models.test_hub_names import SIZES
from tests.tiny_depth import write_tiny_depth

SLUG = "i2b-tiny"


class Foreign:
    """What no file of weights holds; unpickling it would run its module's code."""


@pytest.fixture(autouse=True)
def tiny_row(monkeypatch: pytest.MonkeyPatch) -> None:
    row = WeightSource(dataset=SLUG, serves=("test_vit",), hub="timm/test_vit.r160_in1k", licence="apache-2.0")
    monkeypatch.setitem(SOURCE_OF, SLUG, row)


def download(folder: Path, name: str = "model.safetensors") -> Path:
    folder.mkdir(parents=True)
    torch.manual_seed(1)
    tensors = timm.create_model("test_vit").state_dict()
    if name.endswith(".safetensors"):
        save_tensors(folder / name, tensors)
    else:
        torch.save(tensors, folder / name)
    return folder


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_the_dataset_is_whole_flat_and_names_itself(tmp_path: Path, name: str) -> None:
    source = download(tmp_path / "download", name)
    report = make_weights(SLUG, source, tmp_path / "made")
    manifest = verify_manifest(tmp_path / "made")
    assert dataset_slug(tmp_path / "made") == SLUG and manifest["converted_from"]["sha256"] == report.sha256
    assert json.loads((tmp_path / "made" / "dataset-metadata.json").read_text())["licenses"] == [{"name": "apache-2.0"}]
    made, given = load_file(tmp_path / "made" / "model.safetensors"), read_checkpoint(source / name).tensors
    assert made.keys() == given.keys() and all(torch.equal(made[key], given[key]) for key in made)


def test_weights_of_another_network_leave_nothing(tmp_path: Path) -> None:
    save_tensors(tmp_path / "model.safetensors", timm.create_model("test_resnet").state_dict())
    with pytest.raises(CheckFailed, match="does not fit the model.*huggingface.co/timm/test_vit"):
        make_weights(SLUG, tmp_path, tmp_path / "made")
    assert not (tmp_path / "made" / "model.safetensors").exists()


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": Foreign()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckFailed, match="Foreign, which is code and not weights: not opened"):
        make_weights(SLUG, tmp_path, tmp_path / "made")


def test_a_depth_model_brings_its_config(tmp_path: Path) -> None:
    source = write_tiny_depth(tmp_path / "depth")
    make_weights("i2b-depth-anything-v2-small", source, tmp_path / "made")
    assert set(verify_manifest(tmp_path / "made")["files"]) == {"model.safetensors", "config.json"}
    (source / "config.json").unlink()
    with pytest.raises(UsageError, match="config.json is missing"):
        make_weights("i2b-depth-anything-v2-small", source, tmp_path / "other")


def test_what_is_not_there_and_what_nobody_knows_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither a file nor a folder with model.safetensors"):
        make_weights(SLUG, tmp_path, tmp_path / "made")
    with pytest.raises(UsageError, match="no weights are called 'i2b-nothing'"):
        make_weights("i2b-nothing", tmp_path)
    with pytest.raises(UsageError, match="where the downloaded file lies"):
        make_weights(SLUG, download(tmp_path / "download"), tmp_path / "download")


def test_the_table_can_be_read_by_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    weights_verb(as_json=True)
    rows = json.loads(capsys.readouterr().out)
    assert {row["dataset"] for row in rows} >= {source.dataset for source in WEIGHT_SOURCES}


@pytest.mark.full
@pytest.mark.parametrize("registers", [0, 4])
def test_metas_own_dinov2_fills_timms_real_network_from_its_hub_names(tmp_path: Path, registers: int) -> None:
    """The real architecture with random weights: every tensor has its place and the embeddings their size."""
    from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    kind = (Dinov2WithRegistersConfig, Dinov2WithRegistersModel) if registers else (Dinov2Config, Dinov2Model)
    hub = kind[1](kind[0](**{**SIZES, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
                             "image_size": 518}))  # fmt: skip
    save_tensors(tmp_path / "model.safetensors", hub.state_dict())
    slug = "i2b-vit-base-patch14-reg4-dinov2" if registers else "i2b-vit-base-patch14-dinov2"
    report = make_weights(slug, tmp_path, tmp_path / "made")
    assert report.bytes > 300e6
