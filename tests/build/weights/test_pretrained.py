"""The registry's ImageNet weights: the pinned file and no other, layer for layer what timm expects."""

import json
import os
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from build.core.bundle_files import verify_manifest
from build.core.errors import CheckFailed
from build.weights import pretrained
from build.weights.pretrained import LITE0_BACKBONE, LITE0_SHA256, lite0_dataset
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.data.images import Framing, read_rgb, resize_rgb
from kernel_src.models.model import BackboneNet
from kernel_src.models.starting_weights import load_starting_weights
from kernel_src.runtime.files import sha256_of
from kernel_src.runtime.manifest import BundleError

PHOTOGRAPH = Path(__file__).resolve().parents[3].parent / "shared/data/photos/ID1088965591.jpg"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lite0_dataset(tmp_path_factory.mktemp("pretrained") / "lite0")


@pytest.fixture(scope="module")
def original() -> dict[str, torch.Tensor]:
    return torch.load(pretrained._lite0_source(), map_location="cpu", weights_only=True)


def test_the_dataset_is_flat_covered_by_its_manifest_and_licensed(dataset: Path) -> None:
    assert set(os.listdir(dataset)) == {"model.safetensors", "manifest.json", "dataset-metadata.json"}
    manifest = verify_manifest(dataset)
    assert manifest["dataset"] == "i2b-lite0-imagenet" and set(manifest["files"]) == {"model.safetensors"}
    assert manifest["converted_from"]["sha256"] == LITE0_SHA256
    metadata = json.loads((dataset / "dataset-metadata.json").read_text())
    assert metadata["licenses"] == [{"name": "apache-2.0"}]


def test_the_demo_asks_for_this_dataset_and_backbone() -> None:
    demo = EXPERIMENTS["demo"]
    assert (demo.encoder.weights, demo.encoder.timm) == (pretrained.LITE0_SLUG, LITE0_BACKBONE)


def test_the_weights_load_strictly_into_timm_and_into_the_demos_model(dataset: Path) -> None:
    tensors = load_file(dataset / "model.safetensors")
    net = timm.create_model(LITE0_BACKBONE)
    net.load_state_dict(tensors, strict=True)
    model = BackboneNet(EXPERIMENTS["demo"])
    load_starting_weights(model, dataset / "model.safetensors")
    assert torch.equal(model.backbone.state_dict()["conv_stem.weight"], tensors["conv_stem.weight"])


def test_every_tensor_is_one_of_the_original_under_the_same_kind_of_name(
    dataset: Path, original: dict[str, torch.Tensor]
) -> None:
    tensors = load_file(dataset / "model.safetensors")
    wanted = list(timm.create_model(LITE0_BACKBONE).state_dict())
    assert len(tensors) == len(original) == len(wanted)
    for name, (old, value) in zip(wanted, original.items(), strict=True):
        assert torch.equal(tensors[name], value), name
        assert name.rpartition(".")[2] == old.rpartition(".")[2], "a running mean is not a scale, though of one shape"
    ends = {"_conv_stem.weight": "conv_stem.weight", "_bn0.bias": "bn1.bias", "_fc.weight": "classifier.weight"}
    for old, new in ends.items():
        assert torch.equal(tensors[new], original[old])


def test_the_weights_are_trained_ones_not_a_fresh_net(dataset: Path) -> None:
    """Without pictures at hand: what an ImageNet training leaves behind and an initialisation does not have."""
    tensors = load_file(dataset / "model.safetensors")
    assert all(torch.isfinite(value).all() for value in tensors.values())
    means = torch.cat([value for key, value in tensors.items() if key.endswith("running_mean")])
    variances = torch.cat([value for key, value in tensors.items() if key.endswith("running_var")])
    assert means.abs().max() > 0.5 and variances.min() >= 0 and variances.std() > 0.1, "statistics of real activations"
    assert tensors["classifier.weight"].shape == (1000, 1280)
    # Classes that look alike get alike weights. ImageNet counts its 118 dog breeds from 151 to 268 without a gap.
    rows = torch.nn.functional.normalize(tensors["classifier.weight"], dim=1)
    dogs, rest = rows[151:269], torch.cat([rows[400:850]])
    likeness = (dogs @ dogs.T).fill_diagonal_(0).sum() / (118 * 117)
    assert likeness > 0.02 + float((dogs @ rest.T).mean()), "dogs resemble dogs more than they resemble things"


VELVET, POT, GREENHOUSE, CARDOON = 885, 738, 580, 946  # ImageNet's numbers


def test_the_net_calls_soft_blobs_of_colour_velvet(dataset: Path) -> None:
    """A wrong order of layers, another epsilon or padding, and the net would say anything."""
    net = timm.create_model(LITE0_BACKBONE)
    net.load_state_dict(load_file(dataset / "model.safetensors"))
    coarse = torch.rand(6, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    pictures = torch.nn.functional.interpolate(coarse, (224, 224), mode="bicubic") * 2 - 1
    with torch.inference_mode():
        said = net.eval()(pictures).argmax(1).tolist()
    assert said == [VELVET] * 6


@pytest.mark.skipif(not PHOTOGRAPH.is_file(), reason="no real photographs at ../shared: they are never committed")
def test_the_net_sees_a_garden_in_a_real_quadrat(dataset: Path) -> None:
    net = timm.create_model(LITE0_BACKBONE)
    net.load_state_dict(load_file(dataset / "model.safetensors"))
    picture = torch.from_numpy(resize_rgb(read_rgb(PHOTOGRAPH), Framing(224, 224)).transpose(2, 0, 1).copy())
    with torch.inference_mode():
        said = net.eval()(picture[None].float() / 127.5 - 1).topk(5).indices[0].tolist()
    assert {POT, GREENHOUSE, CARDOON} <= set(said)


def test_a_file_with_another_hash_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "LITE0_SHA256", "0" * 64)

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("the pickle was opened")

    monkeypatch.setattr(torch, "load", opened)
    with pytest.raises(CheckFailed, match="it is a pickle and will not be opened.*install efficientnet-lite0"):
        lite0_dataset(tmp_path / "lite0")
    assert not (tmp_path / "lite0").exists()


def test_a_package_that_is_not_installed_is_named_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "LITE0_PACKAGE", "no_such_package_here")
    with pytest.raises(CheckFailed, match="no_such_package_here is not installed → run: make setup"):
        lite0_dataset(tmp_path / "lite0")


def test_the_pickle_is_read_with_weights_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load, asked = torch.load, []

    def record(*arguments: object, **options: object) -> object:
        asked.append(options["weights_only"])
        return load(*arguments, **options)

    monkeypatch.setattr(torch, "load", record)
    lite0_dataset(tmp_path / "lite0")
    assert asked == [True]


def test_what_is_there_and_whole_is_kept_and_what_is_damaged_made_again(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    copy = Path(shutil.copytree(dataset, tmp_path / "lite0"))
    before = sha256_of(copy / "model.safetensors")
    with monkeypatch.context() as patched:
        patched.setattr(pretrained, "_convert", None)  # would fail if it were called
        lite0_dataset(copy)
    (copy / "model.safetensors").write_bytes(b"half")
    with pytest.raises(BundleError):
        verify_manifest(copy)
    lite0_dataset(copy)
    assert sha256_of(copy / "model.safetensors") == before


def test_another_dataset_in_the_place_is_not_taken_for_it(dataset: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.safetensors").write_bytes(b"something else")
    from build.core.bundle_files import file_entry

    files = {"model.safetensors": file_entry(other / "model.safetensors")}
    (other / "manifest.json").write_text(json.dumps({"format": 1, "dataset": "x", "files": files}))
    lite0_dataset(other)
    assert sha256_of(other / "model.safetensors") == sha256_of(dataset / "model.safetensors")


@pytest.mark.parametrize("fault", ["shape", "name", "count"])
def test_a_file_whose_layers_do_not_correspond_is_refused(
    tmp_path: Path, original: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    tensors = dict(original)
    keys = list(tensors)
    if fault == "shape":
        tensors[keys[0]] = torch.zeros(1)
    elif fault == "count":
        del tensors[keys[-1]]
    else:  # a scale and a bias change places: all shapes agree
        at = next(i for i, key in enumerate(keys) if key.endswith("bn0.weight"))
        keys[at], keys[at + 1] = keys[at + 1], keys[at]
        tensors = {key: original[key] for key in keys}
    monkeypatch.setattr(torch, "load", lambda *_, **__: tensors)
    with pytest.raises(CheckFailed, match="layers do not correspond|tensors, timm's"):
        pretrained._convert(tmp_path / "source.pth", tmp_path / "model.safetensors")
    assert not (tmp_path / "model.safetensors").exists()


def test_safetensors_need_no_pickle(dataset: Path, tmp_path: Path) -> None:
    """What is mounted on Kaggle is read without running any code."""
    assert (dataset / "model.safetensors").read_bytes()[8:9] == b"{"
    save_file(load_file(dataset / "model.safetensors"), tmp_path / "again.safetensors")
