"""A bundle from anywhere: any value in any place is read or refused by a BundleError, and nothing outside is opened."""

import copy
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from build.core.bundle_files import file_entry, verify_manifest
from kernel_src.bundle.bundle_prediction import load_bundle
from kernel_src.bundle.bundles import read_recipe
from kernel_src.inference.bundle_recipes import read_recipes
from kernel_src.inference.fallback import find_bundles
from kernel_src.models.depth import load_depth
from kernel_src.runtime.faults import FaultLog
from kernel_src.runtime.files import WeightsError
from kernel_src.runtime.manifest import BundleError, read_manifest
from tests.tiny_depth import write_tiny_depth

OPENED: list[str] = []
sys.addaudithook(lambda event, args: OPENED.append(str(args[0])) if event in ("open", "socket.connect") else None)


@pytest.fixture
def bundle(whole_depth_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole_depth_bundle, tmp_path / "bundle"))


def write(bundle: Path, config: Any = None, manifest: Any = None) -> None:
    """Put a config and a manifest into a bundle, the hashes right."""
    if config is not None:
        (bundle / "config.json").write_text(json.dumps(config))
        signed = json.loads((bundle / "manifest.json").read_text())
        signed["files"]["config.json"] = file_entry(bundle / "config.json")
        (bundle / "manifest.json").write_text(json.dumps(signed))
    if manifest is not None:
        (bundle / "manifest.json").write_text(json.dumps(manifest))


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield above
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*above, key))


def put(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    value = copy.deepcopy(value)
    inner = value
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = new
    return value


NASTY = st.sampled_from(
    [
        "/etc/passwd",
        "../outside.safetensors",
        "hf-hub:timm/resnet18",
        "local-dir:/tmp",
        "hf_hub:a/b",
        "*",
        "..",
        "",
        "1",
    ]
    + ["https://x.org/y", "resnet34.nothing", "vit_giant_patch14_224", "\x1b[2J", "\ud800", "a" * 5000, "-O"]
    + [10**400, -1, 0, 1e308, float("nan"), float("inf"), True, None, [], {}, [[]], {"": {}}, [None] * 9]
)
JSON = st.recursive(
    NASTY | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_in_any_place_is_a_bundle_error_or_a_recipe(
    whole_depth_bundle: Path, tmp_path: Path, data: st.DataObject
) -> None:
    bundle = tmp_path / "one" / "bundle"
    shutil.rmtree(bundle.parent, ignore_errors=True)
    shutil.copytree(whole_depth_bundle, bundle, copy_function=os.link)
    for name in ("config.json", "manifest.json"):  # not the honest one's own
        text = (bundle / name).read_text()
        (bundle / name).unlink()
        (bundle / name).write_text(text)
    name = data.draw(st.sampled_from(["config", "manifest"]))
    known = json.loads((bundle / f"{name}.json").read_text())
    place = data.draw(st.sampled_from(list(places(known))))
    try:
        write(bundle, **{name: put(known, place, data.draw(JSON))})
    except UnicodeEncodeError:
        return
    del OPENED[:]
    try:
        read_recipe(bundle, verify_manifest(bundle))
    except BundleError as error:
        assert str(error).isprintable() or "\n" in str(error)
        str(error).encode()
    outside = [path for path in OPENED if not path.startswith((str(bundle), sys.prefix, sys.base_prefix))]
    assert not [path for path in outside if not path.endswith((".py", ".pyc"))], outside


def changed(bundle: Path, *place: Any, to: Any) -> str:
    write(bundle, config=put(json.loads((bundle / "config.json").read_text()), place, to))
    with pytest.raises(BundleError) as caught:
        load_bundle(bundle)
    return str(caught.value)


@pytest.mark.parametrize("scheme", ["hf-hub:timm/resnet18.a1_in1k", "hf_hub:a/b", "local-dir:/tmp/x", "timm:resnet34"])
def test_a_backbone_that_lies_elsewhere_is_never_asked_for(bundle: Path, scheme: str) -> None:
    assert "is not the plain name of a timm model" in changed(bundle, "experiment", "encoder", "timm", to=scheme)


@pytest.mark.parametrize(
    "name", ["a/resnet34", "/resnet34", "https://x.org/resnet34", "resnet34\n", "HF-HUB:a/b", "resnet34#x", "net?x", ""]
)  # fmt: skip
def test_nor_is_one_with_a_path(bundle: Path, name: str) -> None:
    changed(bundle, "experiment", "encoder", "timm", to=name)


def test_a_network_that_timm_does_not_know_is_a_fault_of_the_bundle(bundle: Path) -> None:
    assert "is not a network of timm" in changed(bundle, "experiment", "encoder", "timm", to="resnet35")
    assert "Invalid pretrained tag" in changed(bundle, "experiment", "encoder", "timm", to="resnet34.nothing")


@pytest.mark.parametrize("std", [[0.0, 1, 1], [float("inf"), 1, 1], [1, 1], "111", [1e-9, 1, 1], [True, 1, 1], None])
def test_a_scaling_that_leaves_no_picture_is_refused(bundle: Path, std: Any) -> None:
    changed(bundle, "preprocessing", "std", to=std)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd", "a/../../b.safetensors", "C:x", ".hidden"])
@pytest.mark.parametrize("place", [("folds", 0), ("depth", "weights"), ("depth", "config")])
def test_a_name_that_leads_out_is_refused(bundle: Path, place: tuple[Any, ...], name: str) -> None:
    shutil.copyfile(bundle / "fold0.safetensors", bundle.parent / "outside.safetensors")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"][name] = file_entry(bundle / "fold0.safetensors")
    write(bundle, manifest=manifest)
    assert "not the name of a file" in changed(bundle, *place, to=name)


@pytest.mark.parametrize("name", ["fold0.safetensors", "config.json", "manifest.json"])
def test_a_link_out_of_the_bundle_is_refused(bundle: Path, name: str) -> None:
    shutil.move(bundle / name, bundle.parent / name)
    (bundle / name).symlink_to(bundle.parent / name)
    with pytest.raises(BundleError, match=f"{name}.* is a link that leads out of its folder"):
        load_bundle(bundle)


def test_a_pipe_and_a_device_are_not_read(bundle: Path) -> None:
    (bundle / "config.json").unlink()
    os.mkfifo(bundle / "config.json")
    with pytest.raises(BundleError, match="is not a file"):
        load_bundle(bundle)


@pytest.mark.parametrize(
    "text",
    ['{"format": 1, "format": 1}', "[" * 100_000, '{"a":' * 5000, '{"format": NaN}', '{"format": 1e999}']
    + ['{"format": ' + "9" * 5000 + "}", '{"format": 1, "files": {"\\ud800": {}}}', "", "\x00", '{"format": true}'],
)
def test_an_odd_manifest_is_one_line(bundle: Path, text: str) -> None:
    (bundle / "manifest.json").write_text(text)
    with pytest.raises(BundleError) as caught:
        read_manifest(bundle)
    assert "\n" not in str(caught.value) and "manifest.json" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"), [("bytes", "1"), ("bytes", True), ("bytes", -1), ("sha256", 7), ("sha256", "x")]
)
def test_sizes_and_hashes_of_another_form_are_refused(bundle: Path, key: str, value: Any) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"]["config.json"][key] = value
    write(bundle, manifest=manifest)
    with pytest.raises(BundleError, match="manifest.json: files: "):
        read_manifest(bundle)


# The depth model's own config


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("auto_map", {"AutoModel": "evil.Model"}),
        ("backbone", "microsoft/resnet-50"),
        ("use_pretrained_backbone", True),
        ("use_timm_backbone", True),
        ("quantization_config", {"quant_method": "bitsandbytes"}),
        ("model_type", "zoedepth"),
        ("reassemble_hidden_size", 10**9),
        ("fusion_hidden_size", "64"),
        ("neck_hidden_sizes", [4] * 1000),
        ("depth_estimation_type", "psychic"),
        ("backbone_config", {"model_type": "resnet"}),
        ("backbone_config", "facebook/dinov2-small"),
    ],
)
def test_a_depth_config_that_fetches_or_swells_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    folder = write_tiny_depth(tmp_path / "depth")
    config = json.loads((folder / "config.json").read_text()) | {key: value}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="is not the config.json of Depth Anything V2"):
        load_depth(folder / "model.safetensors", folder / "config.json")


def test_what_does_not_shape_the_depth_model_never_reaches_transformers(tmp_path: Path) -> None:
    folder = write_tiny_depth(tmp_path / "depth")
    config = json.loads((folder / "config.json").read_text())
    more = {"_attn_implementation": "kernels-community/x", "attn_implementation": "a/b", "_name_or_path": "/etc"}
    (folder / "config.json").write_text(json.dumps(config | more))
    network = load_depth(folder / "model.safetensors", folder / "config.json").network
    assert not any(value in ("a/b", "/etc", "kernels-community/x") for value in vars(network.config).values())


# In the rerun a bad bundle costs that bundle only


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: c["experiment"]["encoder"].update(timm="hf-hub:a/b"),
        lambda c: c["experiment"]["encoder"].update(timm="resnet35"),
        lambda c: c["experiment"]["pictures"].update(height_px="32"),
        lambda c: c.update(folds=[["x"]]),
        lambda c: c.update(oof=5),
        lambda c: c.update(target_mean=[]),
        lambda c: c["depth"].update(sha256=5),
        lambda c: c["preprocessing"].update(interpolation=[]),
    ],
)
def test_in_the_rerun_the_other_bundle_stands(bundle: Path, tmp_path: Path, monkeypatch: Any, spoil: Any) -> None:
    monkeypatch.setenv("KIT_KAGGLE_ROOT", str(tmp_path))
    inputs = tmp_path / "kaggle" / "input"
    for slug in ("good", "bad"):
        shutil.copytree(bundle, inputs / slug)
    config = json.loads((bundle / "config.json").read_text())
    spoil(config)
    write(inputs / "bad", config=config)
    log = FaultLog(strict=False)
    recipes = read_recipes(find_bundles({"good": 1.0, "bad": 1.0}, log), log)
    assert recipes[0] is not None and recipes[1] is None
    assert any(fault.part == "bundle" and "bad cannot be used" in fault.what for fault in log.faults)


def test_the_honest_bundle_loads(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    assert len(loaded.models) == 2 and all(torch.isfinite(p).all() for m in loaded.models for p in m.parameters())
