"""What is said of an experiment is counted from its network."""

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from build.core.errors import UsageError
from build.weights import describe as module
from build.weights.command import describe_verb, experiments_verb
from build.weights.describe import Description, describe, descriptions
from kernel_src.competitions.held_recipes import ENSEMBLES, EXPERIMENTS
from kernel_src.models.model import BackboneNet
from kernel_src.recipes.changes import changed
from kernel_src.recipes.network import FirstGroups
from tests.kernel_src.tiny import TINY, TINY_VIT

DEPTH_SMALL_PARAMETERS = 24_785_089
KEYS = {
    "experiment",
    "backbone",
    "parameters_total",
    "parameters_trained",
    "feature_dim",
    "image_px",
    "folds",
    "bundle_bytes_fp16",
    "layers",
}


@pytest.fixture(scope="module")
def all_described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Description]:
    """The real timm models, on the meta device."""
    cache = tmp_path_factory.mktemp("cache") / "descriptions.json"
    return dict(zip(EXPERIMENTS, descriptions(list(EXPERIMENTS.values()), cache, quiet=True), strict=True))


@pytest.mark.full
# The exact counts behind the round figures of the seed's README; of V5 it says 54 M + 25 M, and 80 M in sum.
@pytest.mark.parametrize(
    ("name", "millions", "exact"),
    [
        ("v1", 22, 21_942_597),
        ("v2", 56, 56_140_281),
        ("v4", 56, 56_140_281),
        ("v5", 80, 79_161_816),
        ("v7", 88, 87_646_597),
        ("v8", 113, 112_886_566),
    ],
)
def test_the_versions_have_the_parameters_of_the_seeds(
    all_described: dict[str, Description], name: str, millions: int, exact: int
) -> None:
    assert all_described[name].parameters_total == exact == pytest.approx(millions * 1e6, rel=0.012)


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "backbone", "heads"),
    [("v1", 512, 512), ("v4", 1280, 1280), ("v5", 2152, 2408), ("v7", 768, 768), ("v8", 768, 1024)],
)
def test_the_heads_see_what_the_seeds_table_says(
    all_described: dict[str, Description], name: str, backbone: int, heads: int
) -> None:
    described = all_described[name]
    assert (described.backbone_dim, described.feature_dim) == (backbone, heads)


@pytest.mark.full
def test_the_four_large_bundles_together_and_v8_alone_stay_within_what_is_promised(
    all_described: dict[str, Description],
) -> None:
    """3.0 GB against the seed's 17.05, and 0.95 against 5.78."""
    assert sum(all_described[name].bundle_bytes_fp16 for name in ("v4", "v5", "v7", "v8")) <= 3.0e9
    assert all_described["v8"].bundle_bytes_fp16 <= 0.95e9


@pytest.mark.full
def test_every_fold_is_counted_and_the_depth_model_once(all_described: dict[str, Description]) -> None:
    v2, v3, v8 = (all_described[name] for name in ("v2", "v3", "v8"))
    assert v2.folds == 1 and v3.folds == 5 and v3.bundle_bytes_fp16 == 5 * v2.bundle_bytes_fp16
    assert 2 * DEPTH_SMALL_PARAMETERS <= v8.depth_bytes_fp16 < 2.02 * DEPTH_SMALL_PARAMETERS
    fold_bytes = (v8.bundle_bytes_fp16 - v8.depth_bytes_fp16) / 5
    assert fold_bytes == pytest.approx(2 * v8.parameters_trained, rel=0.01), "vectors are fp32, under one percent"


@pytest.mark.full
def test_the_layers_add_up_to_the_total(all_described: dict[str, Description]) -> None:
    for described in all_described.values():
        assert sum(layer.parameters for layer in described.layers) == described.parameters_total
        assert sum(layer.parameters_trained for layer in described.layers) == described.parameters_trained
    names = [layer.name for layer in all_described["v8"].layers]
    assert names[0] == "backbone: cls_token, pos_embed" and names[-1] == "depth model, one for all folds"
    shapes = {layer.name: layer.output for layer in all_described["v8"].layers}
    assert shapes["backbone.blocks"] == [1, 1370, 768] and shapes["depth_branch.encoder"] == [1, 256]


def test_the_count_is_that_of_the_network_with_its_memory() -> None:
    model = BackboneNet(TINY)
    described = describe(TINY)
    assert described.parameters_total == sum(p.numel() for p in model.parameters())
    assert described.feature_dim == model.heads[0][0].in_features
    halves = sum(t.numel() * (2 if t.ndim > 1 else t.element_size()) for t in model.state_dict().values())
    assert described.bundle_bytes_fp16 == 2 * halves


def test_frozen_layers_count_but_are_not_trained() -> None:
    free, frozen = describe(TINY_VIT), describe(changed(TINY_VIT, {"encoder.freeze": FirstGroups(1)}))
    assert frozen.parameters_total == free.parameters_total
    stem = {"pos_embed", "cls_token", "patch_embed.proj.weight", "patch_embed.proj.bias"}
    backbone = BackboneNet(TINY_VIT).backbone
    missing = sum(p.numel() for name, p in backbone.named_parameters() if name in stem)
    assert free.parameters_trained - frozen.parameters_trained == missing


def test_describing_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.nn.Parameter.__new__

    def only_meta(cls: type, data: torch.Tensor | None = None, requires_grad: bool = True) -> torch.nn.Parameter:
        assert data is None or data.device.type == "meta"
        return real(cls, data, requires_grad)

    monkeypatch.setattr(torch.nn.Parameter, "__new__", only_meta)
    describe(EXPERIMENTS["eva02_large"])


# Time


@pytest.mark.full
def test_operations_are_those_that_everybody_counts(all_described: dict[str, Description]) -> None:
    """ResNet34 takes 3.67 G multiply-adds at 224 px (He et al. 2016: 3.6), so (512 / 224)² as many at 512 px."""
    assert all_described["v1"].flops_fold == pytest.approx(2 * 3.67e9 * (512 / 224) ** 2, rel=0.01)
    assert all_described["v7"].flops_fold == pytest.approx(
        2 * 151.7e9, rel=0.01
    )  # timm's results-imagenet: 151.7 GMACs


@pytest.mark.full
def test_the_projected_minutes_follow_the_formula_that_is_printed(all_described: dict[str, Description]) -> None:
    v7, v8 = all_described["v7"], all_described["v8"]
    assert v7.depth_passes == 0 and v8.depth_passes == 1 and v8.views == 8
    assert v8.t4_minutes == pytest.approx(800 * (5 * 8 * v8.flops_fold / 20e12 + v8.flops_depth / 2.5e12) / 60)
    assert describe(changed(EXPERIMENTS["v8"], {"depth.views": "exact"})).depth_passes == 8
    assert "computed, not measured" in module.TIME_FORMULA


# Cache


def test_what_was_counted_is_not_counted_again_until_experiment_or_sources_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    monkeypatch.setattr(module, "describe", lambda e: counted.append(e.name) or describe(e))
    cache = tmp_path / "descriptions.json"
    first = descriptions([TINY, TINY_VIT], cache, quiet=True)
    assert descriptions([TINY, TINY_VIT], cache, quiet=True) == first and counted == ["tiny", "tiny-vit"]
    descriptions([changed(TINY, {"head.hidden": (16,)})], cache, quiet=True)
    assert counted == ["tiny", "tiny-vit", "tiny"]
    monkeypatch.setattr(module, "_sources", lambda: "other sources")
    descriptions([TINY], cache, quiet=True)
    assert len(counted) == 4
    cache.write_text("half a fi")
    assert descriptions([TINY], cache, quiet=True) == first[:1]


# Verbs


def test_describe_prints_every_promised_key_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    describe_verb("demo", as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed.keys() >= KEYS and printed["experiment"] == "demo" and printed["image_px"] == [160, 320]
    monkeypatch.setattr("rich.console.Console", lambda: Console(width=200))
    describe_verb("demo", as_json=False)
    shown = capsys.readouterr().out
    assert f"{printed['parameters_total']:,} parameters" in shown and "backbone.blocks" in shown


def test_describing_what_there_is_not_names_what_there_is() -> None:
    with pytest.raises(UsageError, match="no experiment 'v99'; there are demo, v1"):
        describe_verb("v99", as_json=True)
    with pytest.raises(UsageError, match="v6 is an ensemble of v4, v5: describe each"):
        describe_verb("v6", as_json=True)


@pytest.mark.full
def test_the_list_names_every_experiment_and_ensemble(
    all_described: dict[str, Description], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("build.weights.sizes.descriptions", lambda *_, **__: list(all_described.values()))
    experiments_verb(as_json=True)
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows.keys() == {*EXPERIMENTS, *ENSEMBLES}
    v8 = rows["v8"]
    assert v8["backbone"] == "vit_base_patch14_dinov2" and v8["parameters"] == 112_886_566
    assert v8["image_px"] == [518, 518] and v8["folds"] == 5 and v8["seed_public_r2"] == 0.62
    assert v8["bundle_bytes"] == all_described["v8"].bundle_bytes_fp16 and v8["t4_minutes_800"] > 0
    assert rows["v6"]["bundle_bytes"] == rows["v4"]["bundle_bytes"] + rows["v5"]["bundle_bytes"]
    assert rows["siglip"]["seed_public_r2"] is None
    experiments_verb(as_json=False)
    shown = capsys.readouterr().out
    assert all(name in shown for name in rows) and "computed, not measured" in shown
    assert max(len(line) for line in shown.splitlines() if line.startswith(("v", "eva"))) <= 80
