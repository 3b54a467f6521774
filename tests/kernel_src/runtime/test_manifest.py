"""The manifest: whatever is not as it was made is refused, and every such file is named."""

import json
from pathlib import Path

import pytest

from build.core.bundle_files import file_entry, verify_manifest
from kernel_src.runtime.files import BUNDLE_FORMAT
from kernel_src.runtime.manifest import BundleError, read_bundle_json


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    for name in ("fold0.safetensors", "fold1.safetensors", "config.json"):
        (tmp_path / name).write_bytes(name.encode() * 50)
    files = {path.name: file_entry(path) for path in tmp_path.iterdir()}
    (tmp_path / "manifest.json").write_text(json.dumps({"format": BUNDLE_FORMAT, "files": files}))
    return tmp_path


def test_a_whole_bundle_passes_and_gives_its_manifest(bundle: Path) -> None:
    (bundle / "extra.txt").touch()  # Kaggle adds files of its own
    assert set(verify_manifest(bundle)["files"]) == {"fold0.safetensors", "fold1.safetensors", "config.json"}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[17] ^= 1
    path.write_bytes(data)


def test_a_missing_a_truncated_and_a_flipped_file_are_each_named_in_one_message(bundle: Path) -> None:
    (bundle / "config.json").unlink()
    flip(bundle / "fold0.safetensors")
    (bundle / "fold1.safetensors").write_bytes((bundle / "fold1.safetensors").read_bytes()[:-1])
    with pytest.raises(BundleError) as caught:
        verify_manifest(bundle)
    for part in (
        "config.json is missing",
        "fold0.safetensors has another sha256: its bytes were changed",
        "fold1.safetensors has 849 bytes, not 850",
        "upload the bundle again",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["fold0.safetensors", "fold1.safetensors", "config.json"])
def test_one_flipped_bit_in_any_file_is_found(bundle: Path, name: str) -> None:
    flip(bundle / name)
    with pytest.raises(BundleError, match=f"{name} has another sha256"):
        verify_manifest(bundle)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "manifest.json is missing: upload the bundle again, whole"),
        ("{half", "manifest.json is not JSON"),
        ("\udcff", "manifest.json is not JSON"),
        ("[1, 2]", "no format number: it is not a bundle of this kit"),
        ('{"files": {}}', "no format number"),
        ('{"format": "1"}', "no format number"),
        ('{"format": 99, "files": {}}', "format 99, this notebook reads up to 3: build and push the notebook again"),
        ('{"format": 1}', "lists no files with bytes and sha256"),
        ('{"format": 1, "files": ["a"]}', "lists no files with bytes and sha256"),
        ('{"format": 1, "files": {"a": {"bytes": 1}}}', "lists no files with bytes and sha256"),
    ],
)
def test_what_is_no_manifest_is_refused_by_its_path(bundle: Path, content: str | None, message: str) -> None:
    path = bundle / "manifest.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(BundleError, match=message) as caught:
        verify_manifest(bundle)
    assert str(bundle) in str(caught.value)


def test_the_config_is_read_with_the_same_care(bundle: Path) -> None:
    with pytest.raises(BundleError, match="config.json is not JSON"):
        read_bundle_json(bundle, "config.json")
