"""A file of weights is safetensors with finite numbers, or one line says what it is instead; any header is survived."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from kernel_src.models.model import BackboneNet, load_fold
from kernel_src.recipes.network import Encoder, PooledHead
from kernel_src.recipes.pictures import Pictures
from kernel_src.recipes.predictor import Predictor
from kernel_src.runtime import weight_files
from kernel_src.runtime.files import WeightsError, sha256_of
from kernel_src.runtime.mounts import kaggle_root
from kernel_src.runtime.weight_files import (
    files_of,
    is_finite,
    open_weights,
    read_weights,
    tensor_files,
    tensor_groups,
    weights_sha256,
)
from kernel_src.runtime.weight_sources import INDEX_FILE, find_weights
from tests.kernel_src.models.shards import write_shards
from tests.kernel_src.tiny import TINY


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_number_that_is_not_finite_is_found_wherever_it_stands(tmp_path: Path, dtype: torch.dtype, value: float):
    for place in (0, 17, 999):
        tensor = torch.full((1000,), 60000.0, dtype=dtype)  # their sum is beyond fp16
        assert is_finite(tensor)
        tensor[place] = value
        save_file({"good": torch.ones(2), "bad": tensor}, tmp_path / "w.safetensors")
        with pytest.raises(WeightsError, match=r"w.safetensors cannot be used: NaN or infinite numbers in bad →"):
            read_weights(tmp_path / "w.safetensors")


def test_weights_of_another_kind_are_refused(tmp_path: Path):
    for dtype in (torch.float8_e4m3fn, torch.complex64):
        save_file({"w": torch.ones(4).to(dtype)}, tmp_path / "w.safetensors")
        with pytest.raises(WeightsError, match="no plain weights are w"):
            read_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("key", "value"), [("scaling.std", 0.0), ("scaling.std", -1.0), ("scaling.mean", float("nan"))]
)
def test_a_scaling_that_leaves_no_grams_is_refused(tmp_path: Path, key: str, value: float):
    tensors = BackboneNet(TINY).state_dict()
    tensors[key][3] = value
    save_file(tensors, tmp_path / "fold0.safetensors")
    with pytest.raises(WeightsError, match=key):
        load_fold(TINY, tmp_path / "fold0.safetensors")


def test_a_negative_variance_is_refused(tmp_path: Path):
    tensors = BackboneNet(TINY).state_dict()
    name = next(name for name in tensors if name.endswith("running_var"))
    tensors[name][0] = -1.0
    save_file(tensors, tmp_path / "fold0.safetensors")
    with pytest.raises(WeightsError, match="variances below 0"):
        load_fold(TINY, tmp_path / "fold0.safetensors")


def test_whole_numbers_are_no_weights(tmp_path: Path):
    tensors = BackboneNet(TINY).state_dict()
    tensors["heads.0.0.weight"] = tensors["heads.0.0.weight"].to(torch.int32)
    save_file(tensors, tmp_path / "fold0.safetensors")
    with pytest.raises(WeightsError, match=r"heads.0.0.weight holds torch.int32, no weights"):
        load_fold(TINY, tmp_path / "fold0.safetensors")


def test_a_network_far_larger_than_its_file_is_never_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A giant took 5 GB and 36 s before its size was refused."""
    save_file({"w": torch.ones(3)}, tmp_path / "fold0.safetensors")
    built: list[torch.nn.Module] = []
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *a, **o: built.append(create(*a, **o)) or built[-1])
    giant = Predictor(name="giant", encoder=Encoder("vit_giant_patch14_224"), pictures=Pictures(224, 224))
    wide = Predictor(name="wide", encoder=Encoder("test_resnet"), head=PooledHead((65536, 65536, 65536)))
    for experiment in (giant, wide):
        with pytest.raises(WeightsError, match="does not fit the model"):
            load_fold(experiment, tmp_path / "fold0.safetensors")
    assert len(built) == 2
    assert sum(0 if p.is_meta else p.numel() for net in built for p in net.parameters()) < 1_000_000


@pytest.mark.parametrize(
    "backbone",
    [
        "test_vit",
        "test_resnet",
        "test_efficientnet",
        "test_convnext",
        "regnetx_002",
        "vit_relpos_small_patch16_rpn_224",
        "vit_tiny_r_s16_p8_224",
    ],
)
def test_a_model_around_its_file_is_the_model_that_was_saved(tmp_path: Path, backbone: str):
    experiment = Predictor(name="one", encoder=Encoder(backbone), pictures=Pictures(64, 64), head=PooledHead((8,)))
    model = BackboneNet(experiment).eval()
    save_file(model.state_dict(), tmp_path / "fold0.safetensors")
    loaded = load_fold(experiment, tmp_path / "fold0.safetensors")
    (tmp_path / "fold0.safetensors").write_bytes(b"")  # nothing of the model lies in the file any more
    picture = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(picture), loaded(picture))
    assert all(parameter.requires_grad for parameter in loaded.parameters())


# Any header

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "F16", "I64", "F4", "F8_E4M3", "C64", "BOOL", "X"]) | JSON,
        "shape": st.lists(st.integers(-1, 2**62), max_size=3) | JSON,
        "data_offsets": st.lists(st.integers(-1, 64) | st.integers(0, 2**63), min_size=2, max_size=2) | JSON,
    },
)
HEADER = st.dictionaries(st.sampled_from(["w", "heads.0.0.weight", "__metadata__", "\x00", "../x"]), TENSOR | JSON)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=HEADER | JSON, body=st.binary(max_size=64), length=st.none() | st.integers(0, 2**64 - 1))
def test_any_header_is_read_or_refused_in_one_line(tmp_path: Path, header: object, body: bytes, length: int | None):
    text = json.dumps(header).encode()
    size = (len(text) if length is None else length).to_bytes(8, "little")
    path = tmp_path / "w.safetensors"
    path.write_bytes(size + text + body)
    for read in (read_weights, open_weights):
        try:
            read(path)
        except WeightsError as error:
            assert "\n" not in str(error) and str(path) in str(error)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=600) | st.text(max_size=200).map(lambda text: text.encode(errors="replace")))
def test_any_bytes_are_named_in_one_line(tmp_path: Path, content: bytes):
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        read_weights(tmp_path / "w.safetensors")
    assert "\n" not in str(caught.value)


# Weights in several files

TENSORS = {f"layer{i}.weight": torch.full((8, 8), float(i)) for i in range(6)}


def test_shards_hold_what_one_file_would(tmp_path: Path) -> None:
    index = write_shards(tmp_path, TENSORS)
    assert [file.name for file in files_of(index)] == [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    read = read_weights(index)
    assert read.keys() == tensor_files(index).keys() == TENSORS.keys()
    assert all(torch.equal(read[name], TENSORS[name]) for name in TENSORS)


def test_tensors_come_in_groups_of_the_size_that_is_held_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = write_shards(tmp_path, TENSORS)
    files, names = tensor_files(index), list(TENSORS)
    assert [list(group) for group in tensor_groups(files, names)] == [names[:2], names[2:4], names[4:]], "by file"
    monkeypatch.setattr(weight_files, "GROUP_BYTES", 300)  # a tensor has 256
    groups = list(tensor_groups(files, names[1:]))
    assert [list(group) for group in groups] == [[name] for name in names[1:]]
    assert all(torch.equal(group[name], TENSORS[name]) for group in groups for name in group)


SOME, LAST = "layer0.weight", "model-00003-of-00003.safetensors"
LIES: dict[str, tuple[Callable[[dict], object], str]] = {
    "another shard": (lambda files: files.update({SOME: LAST}), "does not fit model-0000[13].*layer0.weight"),
    "a tensor that is nowhere": (
        lambda files: files.update({"layer9.weight": LAST}),
        "'layer9.weight': the index names it there, the file lacks it",
    ),
    "a tensor that is left out": (lambda files: files.pop("layer5.weight"), "'layer5.weight': the index lacks it"),
    "a shard that is not there": (
        lambda files: files.update({"layer9.weight": "model-00004-of-00003.safetensors"}),
        "model-00004-of-00003.safetensors is missing: .* attach all shards",
    ),
    "a file elsewhere": (
        lambda files: files.update({SOME: "../other.safetensors"}),
        "is not the name of a file in this folder",
    ),
    "an absolute path": (lambda files: files.update({SOME: "/etc/passwd"}), "is not the name of a file in this folder"),
    "a pickle": (lambda files: files.update({SOME: "model.bin"}), "'model.bin' is not a safetensors file"),
    "a number for a name": (lambda files: files.update({SOME: 1}), "1 is not a file name"),
    "no tensor": (lambda files: files.clear(), 'no "weight_map"'),
}


@pytest.mark.parametrize(("change", "said"), LIES.values(), ids=LIES)
def test_an_index_with_a_lie_is_refused(change: Callable[[dict], object], said: str, tmp_path: Path) -> None:
    save_file({SOME: torch.ones(8, 8)}, tmp_path / "other.safetensors")
    index = write_shards(tmp_path / "weights", TENSORS)
    value = json.loads(index.read_text())
    change(value["weight_map"])
    index.write_text(json.dumps(value))
    for read in (read_weights, tensor_files, weights_sha256):
        with pytest.raises(WeightsError, match=said):
            read(index)


def test_a_shard_that_is_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    index = write_shards(tmp_path / "weights", TENSORS)
    shard = files_of(index)[1]
    shard.rename(tmp_path / "elsewhere.safetensors")
    shard.symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(WeightsError, match=f"{shard.name} is a link that leads out of its folder"):
        read_weights(index)


def test_a_shard_that_lacks_its_end_is_named(tmp_path: Path) -> None:
    index = write_shards(tmp_path, TENSORS)
    shard = files_of(index)[1]
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=f"{shard.name} cannot be read as safetensors"):
        tensor_files(index)


def test_the_sha256_of_shards_follows_every_byte_of_them_and_none_of_the_index(tmp_path: Path) -> None:
    index = write_shards(tmp_path, TENSORS)
    before = weights_sha256(index)
    index.write_text(json.dumps(json.loads(index.read_text()), indent=7))
    assert weights_sha256(index) == before
    write_shards(tmp_path, TENSORS | {"layer3.weight": torch.full((8, 8), 3.5)})
    assert weights_sha256(index) != before
    assert weights_sha256(files_of(index)[0]) == sha256_of(files_of(index)[0])


def test_weights_in_shards_are_found_where_one_file_would_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIT_KAGGLE_ROOT", str(tmp_path))
    folder = kaggle_root() / "input" / "datasets" / "someone" / "i2b-large"
    write_shards(folder, TENSORS)
    assert find_weights("i2b-large") == folder / INDEX_FILE
    save_file(TENSORS, folder / "model.safetensors")
    assert find_weights("i2b-large") == folder / "model.safetensors"
    with pytest.raises(FileNotFoundError, match="i2b-other"):
        find_weights("i2b-other")
