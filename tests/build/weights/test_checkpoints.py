"""A checkpoint is unwrapped, or one line names what the file is; nothing in it runs, and torch is not quoted."""

import argparse
import gzip
import json
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from build.core.errors import CheckFailed
from build.weights.checkpoints import read_checkpoint
from build.weights.conversion import make_weights
from kernel_src.runtime.weight_sources import SOURCE_OF, WeightSource
from kernel_src.training.checkpoint import save_tensors

WEIGHTS = {"conv.weight": torch.ones(3, 2), "conv.bias": torch.zeros(3)}
OTHERS = {"conv.weight": torch.full((3, 2), 2.0), "conv.bias": torch.zeros(3)}


def saved(folder: Path, value: Any, name: str = "weights.pth") -> Path:
    torch.save(value, folder / name)
    return folder / name


def refused(path: Path, part: str = "") -> str:
    with pytest.raises(CheckFailed) as caught:
        read_checkpoint(path, part)
    text = str(caught.value)
    assert "weights_only" not in text and "\n" not in text and "→" in text, text
    return text


def optimizer_beside() -> dict[str, Any]:
    net = torch.nn.Linear(2, 3)
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


@pytest.mark.parametrize(
    ("wrap", "taken"),
    [
        (lambda w: w, ""),
        (lambda w: {"state_dict": w}, "state_dict"),
        (lambda w: {"model": w, "epoch": 3, "optimizer": optimizer_beside(), "loss": torch.tensor(0.5)}, "model"),
        (lambda w: {"net": {"state_dict": w}}, "net.state_dict"),
        (lambda w: {"model_state_dict": w, "optimizer_state_dict": optimizer_beside()}, "model_state_dict"),
        (lambda w: {f"module.{k}": v for k, v in w.items()}, "names without module."),
        (lambda w: {"state_dict": {f"module._orig_mod.{k}": v for k, v in w.items()}}, "state_dict, names without module._orig_mod."),  # noqa: E501
        (lambda w: {"state_dict": {f"model.backbone.{k}": v for k, v in w.items()}}, "state_dict, names without model.backbone."),  # noqa: E501
        (lambda w: {"ema": w, "scores": {"r2": torch.tensor(0.5)}}, "ema"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("legacy", [False, True])
def test_wrapped_weights_are_unwrapped_and_it_is_said_how(tmp_path: Path, wrap: Any, taken: str, legacy: bool) -> None:
    torch.save(wrap(WEIGHTS), tmp_path / "weights.pth", _use_new_zipfile_serialization=not legacy)
    found = read_checkpoint(tmp_path / "weights.pth")
    assert found.taken == taken and found.tensors.keys() == WEIGHTS.keys()
    assert all(torch.equal(found.tensors[key], WEIGHTS[key]) for key in WEIGHTS)


@pytest.mark.parametrize("average", ["ema", "state_dict_ema", "teacher"])
def test_of_two_sets_of_weights_the_user_chooses(tmp_path: Path, average: str) -> None:
    path = saved(tmp_path, {"state_dict": WEIGHTS, average: OTHERS})
    assert f"state_dict (2 tensors), {average} (2 tensors) → say which by --part" in refused(path)
    assert torch.equal(read_checkpoint(path, average).tensors["conv.weight"], OTHERS["conv.weight"])
    assert "holds no weights called 'swa'" in refused(path, "swa")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "a list of 2 (int)"),
        ([], "an empty list"),
        (torch.ones(2), "a single tensor"),
        ({"a": torch.ones(2), "epoch": 3}, "1 tensors (a) beside epoch (int)"),
        ({}, "a dictionary of nothing"),
        ({"epoch": 3, "name": "x"}, "a dictionary of epoch (int), name (str)"),
        ({0: torch.ones(2)}, "1 tensors (0)"),
        (None, "a NoneType"),
        ({"a": argparse.Namespace(x=1)}, "argparse.Namespace, which is code"),
        ({"a": Path("x")}, "which is code"),
        ({"a": np.float64(1)}, "code"),
        ({"w": torch.tensor([1.0, float("nan")])}, "NaN or infinite numbers in w"),
        ({"state_dict": {"w": torch.tensor([float("inf")])}}, "NaN or infinite numbers in w"),
        ({"w": torch.tensor([1e300], dtype=torch.float64)}, "NaN or infinite numbers in w"),
        ({"w": torch.ones(2, dtype=torch.complex64)}, "no plain weights are w"),
        ({"w": torch.eye(3).to_sparse()}, "no plain weights are w"),
        ({"w": torch.ones(4, device="meta")}, "no plain weights are w"),
        ({"w": torch.ones(1).expand(200_000, 200_000)}, "w claims 160,000,000,000 bytes and has 4"),
        ({f"w{i}": t for t in [torch.ones(9999)] for i in range(9)}, "its tensors claim"),
    ],
)  # fmt: skip
def test_what_is_no_set_of_weights_is_named_in_one_line(tmp_path: Path, value: Any, message: str) -> None:
    assert message in refused(saved(tmp_path, value))


class Huge:
    """Asks for a tensor of 400 GB while it is read."""

    def __reduce__(self) -> Any:
        return torch.Tensor, (10**11,)


class Runs:
    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('code ran')",)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(("hostile", "message"), [(Huge(), "far more memory"), (Runs(), "code and not weights")])
def test_a_pickle_neither_runs_code_nor_fills_the_memory(
    tmp_path: Path, hostile: Any, message: str, legacy: bool
) -> None:
    torch.save({"w": hostile}, tmp_path / "weights.pth", _use_new_zipfile_serialization=not legacy)
    text = refused(tmp_path / "weights.pth")
    assert message in text or "could run code" in text or "code" in text


def odd_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Write what is met in the place of weights; map each to the words that must name it."""
    whole = saved(folder, {"w": torch.ones(5000)}, "whole.bin").read_bytes()
    save_tensors(folder / "whole.safetensors", {"w": torch.ones(5000)})
    good = (folder / "whole.safetensors").read_bytes()
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("model/weights.bin", b"x" * 100)
    with tarfile.open(folder / "a.tar", "w") as archive:
        archive.add(folder / "a.zip", "a.zip")
    with zipfile.ZipFile(folder / "a.keras", "w") as archive:
        archive.writestr("model.weights.h5", b"x")
    np.savez(folder / "a.npz", x=np.ones(3))
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), folder / "a.pt")
    contents: dict[str, tuple[bytes, str]] = {
        "lfs.pth": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "Git LFS pointer"),
        "lfs.safetensors": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n", "git lfs pull"),
        "page.pth": (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
        "page.safetensors": ("\ufeff<html>é</html>".encode("utf-16"), "a web page"),
        "answer.pth": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML document"),
        "answer.bin": (b"Entry not found", "a text file, perhaps a server's answer"),
        "empty.pth": (b"", "an empty file"),
        "empty.safetensors": (b"", "an empty file"),
        "x.json": (b'{"weight_map": {}}', "the index of weights in several files"),
        "y.json": (b'{"error": "gated"}', "a JSON file"),
        "x.gguf": (b"GGUF\x03\x00\x00\x00" + bytes(50), "a GGUF file"),
        "x.h5": (b"\x89HDF\r\n\x1a\n" + bytes(50), "an HDF5 file (Keras"),
        "x.onnx": (b"\x08\x08\x12\x07pytorch" + bytes(50), "an ONNX file"),
        "saved_model.pb": (b"\x08\x01\x12\x07" + bytes(50), "a part of a TensorFlow model"),
        "x.tflite": (b"\x1c\x00\x00\x00TFL3" + bytes(50), "a TensorFlow Lite file"),
        "x.npy": (b"\x93NUMPY\x01\x00" + bytes(50), "a NumPy array"),
        "x.gz": (gzip.compress(good), "a gzip archive"),
        "x.pkl": (pickle.dumps({"w": [1.0]}), "a Python pickle that torch.save did not write"),
        "cut.pth": (whole[: len(whole) // 2], "cut short or damaged"),
        "cut.safetensors": (good[:-1], f"cut short: {len(good) - 1:,} bytes of {len(good):,}"),
        "shorter.safetensors": (good[:40], "cut short: 40 bytes, its header alone takes"),
        "longer.safetensors": (good + b"x", "file not fully covered"),
        "noise.pth": (bytes(range(128, 256)) * 9, "of no kind that is known here"),
        "zeros.pth": (bytes(4096), "of no kind that is known here"),
    }
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    archives = {"a.zip": "a zip archive of 1 files", "a.tar": "a tar archive", "a.keras": "a Keras model"}
    archives |= {"a.npz": "NumPy arrays", "a.pt": "a TorchScript program"}
    words = {name: text for name, (_, text) in contents.items()} | archives
    return {name: (folder / name, text) for name, text in words.items()}


def test_every_other_file_is_named_for_what_it_is(tmp_path: Path) -> None:
    for name, (path, words) in odd_files(tmp_path).items():
        assert words in refused(path), name
    assert "a folder" in refused(tmp_path)
    assert "missing" in refused(tmp_path / "nothing.pth")


def test_the_name_does_not_decide_what_a_file_is(tmp_path: Path) -> None:
    saved(tmp_path, WEIGHTS, "model.safetensors")
    save_tensors(tmp_path / "model.pth", WEIGHTS)
    for name in ("model.safetensors", "model.pth"):
        assert read_checkpoint(tmp_path / name).tensors.keys() == WEIGHTS.keys()


def test_a_compressed_checkpoint_is_not_inflated(tmp_path: Path) -> None:
    path = saved(tmp_path, {"w": torch.zeros(100_000)})
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in whole.infolist():
            packed.writestr(entry.filename, whole.read(entry))
    assert "compressed" in refused(tmp_path / "b.pth")


# The command


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch) -> str:
    row = WeightSource(dataset="i2b-tiny", serves=("test_vit",), hub="timm/test_vit.r160_in1k", licence="apache-2.0")
    monkeypatch.setitem(SOURCE_OF, "i2b-tiny", row)
    return "i2b-tiny"


def test_a_wrapped_checkpoint_becomes_a_dataset_that_says_what_was_taken(tmp_path: Path, row: str) -> None:
    state = {f"module.{k}": v for k, v in timm.create_model("test_vit").state_dict().items()}
    report = make_weights(row, saved(tmp_path, {"state_dict": state, "epoch": 3}), tmp_path / "made")
    assert report.taken == "state_dict, names without module."
    assert json.loads((tmp_path / "made/manifest.json").read_text())["converted_from"]["part"] == report.taken


def test_a_file_that_does_not_fit_leaves_the_dataset_that_was_there(tmp_path: Path, row: str) -> None:
    make_weights(row, saved(tmp_path, timm.create_model("test_vit").state_dict()), tmp_path / "made")
    before = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}
    for other in (timm.create_model("test_resnet").state_dict(), {"pos_embed": torch.ones(2)}, {"w": torch.ones(2)}):
        with pytest.raises(CheckFailed, match="does not fit the model"):
            make_weights(row, saved(tmp_path, other), tmp_path / "made")
    assert {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"made", "weights.pth"}
