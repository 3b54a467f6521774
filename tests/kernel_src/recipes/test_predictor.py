"""Parts that mean nothing together are refused, each with the reason; and inference needs no training field."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.recipes.changes import changed
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import EMA, SWA, AdamW, Batch, Cosine, InnerFold, SmoothL1
from kernel_src.recipes.network import DenseHead, Depth, Encoder, FirstGroups, FirstShare, PooledHead, RegressorHead
from kernel_src.recipes.pictures import HALVES, Attention, Mean, Pictures, SideBySide, Sum, part_box, tiles
from kernel_src.recipes.predictor import TRAINING_FIELDS, Predictor, checked_experiment_name, predictor_from_json
from kernel_src.recipes.spec import ExperimentError
from kernel_src.recipes.training_data import (
    Augment,
    CutMix,
    Data,
    External,
    GroupSplit,
    LeaveGroupOut,
    Mixup,
    PseudoLabels,
    StratifiedGroupSplit,
    TokenMix,
)
from tests.kernel_src.tiny import TINY

# A frozen experiment may have nothing that only training reads.
FROZEN = {
    "encoder.weights": "i2b-test-vit",
    "head": RegressorHead(("mean",)),
    "optimizer": AdamW(),
    "schedule": Cosine(),
    "batch": Batch(),
}
DEPTH = Depth("i2b-depth")
TOGETHER: list[tuple[dict[str, Any], str]] = [
    ({"pictures.parts": HALVES}, "2 pictures need a join"),
    ({"pictures.scales": (1.0, 0.5)}, "2 pictures need a join"),
    ({"pictures.join": "Sum"}, r"join=Sum\(\) has one picture, and nothing to join"),
    ({"depth": DEPTH, "pictures.parts": HALVES, "pictures.join": Mean()}, "depth joins"),
    (
        {"depth": DEPTH, "head": DenseHead()},
        r'head must be PooledHead\(pool=\("own",\)\)',
    ),
    ({"depth": DEPTH, "head.pool": ("mean",)}, "depth joins the pooled picture"),
    ({"encoder.layers": (1, 4)}, r'encoder.layers=\(1, 4\): the pooling "own" sees the last layer only'),
    (
        {"head": DenseHead(reduce="sum"), "pictures.parts": HALVES, "pictures.join": Mean()},
        r"a dense head with reduce='sum' joins pictures by Sum\(\)",
    ),
    (
        {"head": DenseHead(reduce="mean"), "pictures.parts": HALVES, "pictures.join": Sum()},
        r"a dense head with reduce='mean' joins pictures by Mean\(\)",
    ),
    ({**FROZEN, "encoder.weights": ""}, "frozen features need pretrained weights: name them in encoder.weights"),
    ({**FROZEN, "depth": DEPTH}, "frozen features have no depth branch"),
    ({**FROZEN, "encoder.freeze": FirstGroups(1)}, "encoder.freeze has no meaning"),
    ({**FROZEN, "pictures.parts": HALVES, "pictures.join": Mean()}, r"pictures.join must be SideBySide\(\)"),
    ({**FROZEN, "optimizer.lr": 1.0, "keep": "EMA"}, "nothing is trained: optimizer, keep would have no effect"),
    ({**FROZEN, "data.train_folds": (0,)}, "a regressor is fitted on all of the competition's rows"),
    ({**FROZEN, "data.pseudo": PseudoLabels()}, "a regressor is fitted on all of the competition's rows"),
    ({"augment.mix": TokenMix()}, r"augment.mix=TokenMix\(\) mixes patches: head must be a DenseHead\(\)"),
    ({"depth": DEPTH, "augment.mix": CutMix()}, "depth goes without augment.mix, rescale and crop"),
    ({"depth": DEPTH, "augment.crop": (0.5, 1.0)}, "depth goes without augment.mix, rescale and crop"),
]


@pytest.mark.parametrize(("changes", "said"), TOGETHER, ids=lambda case: str(case)[:60])
def test_parts_that_mean_nothing_together_are_refused_with_the_reason(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ExperimentError, match=f"tiny: .*{said}" if not said.startswith(("2 pic", "join=")) else said):
        changed(TINY, changes)


ALLOWED: list[dict[str, Any]] = [
    {"pictures.parts": HALVES, "pictures.join": Attention()},
    {"head": DenseHead(), "pictures.parts": tiles(1, 3), "pictures.join": Sum()},
    {"head": DenseHead(reduce="mean"), "augment.mix": TokenMix()},
    {"head.pool": ("cls", "mean"), "encoder.layers": (1, 4)},
    {"depth": DEPTH},
    {**FROZEN, "pictures.parts": HALVES, "pictures.join": SideBySide(), "encoder.layers": (1, 4)},
]


@pytest.mark.parametrize("changes", ALLOWED, ids=lambda case: str(case)[:60])
def test_what_is_near_them_and_means_something_is_taken(changes: dict[str, Any]) -> None:
    assert changed(TINY, changes) != TINY


# %%
# What one part refuses by itself


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Encoder("hf-hub:me/net"), "timm='hf-hub:me/net' is not the plain name of a timm model"),
        (lambda: Encoder("resnet34", "I2B weights"), "weights='I2B weights' is not a dataset: its slug on Kaggle"),
        (lambda: Encoder("resnet34", precision="bf16"), "precision='bf16' is not one of auto, fp16, fp32"),
        (lambda: Encoder("resnet34", layers=()), r"layers=\(\) count from 1, the last, each once"),
        (lambda: Encoder("resnet34", layers=(1, 1)), r"layers=\(1, 1\) count from 1"),
        (lambda: Encoder("resnet34", layers=(0,)), r"layers=\(0,\) count from 1"),
        (lambda: FirstGroups(0), "groups=0 must be at least 1"),
        (lambda: FirstShare(1.0), "share=1.0 must lie between 0 and 1"),
        (lambda: Depth(""), "weights is empty: name the dataset of the depth model"),
        (lambda: Depth("i2b-depth", fusion="sum"), "fusion='sum' is not one of concat, add, attention, rgbd"),
        (lambda: Depth("i2b-depth", channels=3), "channels=3 is not one of 1, 2"),
        (lambda: Depth("i2b-depth", views="all"), "views='all' is not one of shared, exact"),
        (lambda: PooledHead((8, 0)), r"hidden=\(8, 0\) must lie in 1 to 65536"),
        (lambda: PooledHead(activation="tanh"), "activation='tanh' is not one of relu, gelu"),
        (lambda: PooledHead(dropout=1.0), r"dropout=1.0 must lie in \[0, 1\)"),
        (lambda: PooledHead(targets="three"), "targets='three' is not one of five, components, shares"),
        (lambda: PooledHead(pool=("median",)), "pool='median' is not one of own, cls, mean"),
        (lambda: PooledHead(pool=()), r"pool=\(\) names one pooling at least, each once"),
        (lambda: RegressorHead(pool=("max", "max")), r"pool=\('max', 'max'\) names one pooling at least, each once"),
        (lambda: DenseHead(reduce="max"), "reduce='max' is not one of sum, mean"),
        (lambda: Pictures(height_px=0), "height_px=0.*pictures have 1 to 8192 px"),
        (lambda: Pictures(scales=(100.0,)), "pictures have 1 to 8192 px"),
        (lambda: Pictures(parts=()), "there is one part and one scale at least"),
        (lambda: Pictures(parts=("middle",)), "'middle' is not one of whole, left, right, top, bottom, or a name from"),
        (lambda: Pictures(parts=("tile2x1of1x3",)), "'tile2x1of1x3' is not one of"),
        (lambda: Pictures(parts=("left", "left"), join=Sum()), r"parts=\('left', 'left'\) names something twice"),
        (lambda: Pictures(crop_bottom=1.0), r"crop_bottom=1.0 must lie in \[0, 1\)"),
        (lambda: Attention(0), "heads=0 must be at least 1"),
        (lambda: GroupSplit(1), "folds=1: one fold trains on nothing"),
        (lambda: StratifiedGroupSplit(5, -1), "seed=-1 must be 0 or a positive number"),
        (lambda: Data(train_folds=(5, 7)), r"train_folds=\(5, 7\) names 5, 7; the folds are 0 to 4"),
        (lambda: Data(LeaveGroupOut(), train_folds=(-1,)), r"train_folds=\(-1,\) names -1; the folds start at 0"),
        (lambda: External(""), "dataset is empty"),
        (lambda: External("i2b-grass", 0.0), "area_factor=0.0 must be above 0"),
        (lambda: PseudoLabels(weight=0.0), "weight=0.0 must be above 0"),
        (lambda: Augment("wild"), "preset='wild' is not one of none, conservative"),
        (lambda: Augment(pad="white"), "pad='white' is not one of black, reflect"),
        (lambda: Augment(crop=(0.9, 0.5)), r"crop=\(0.9, 0.5\) must be two numbers in \(0, 1\], the smaller first"),
        (lambda: Augment(rescale=(0.5, 1.5)), "rescale=.* must be two numbers"),
        (lambda: Augment(rescale_p=0.5), "rescale_p=0.5 has no effect without rescale"),
        (lambda: Augment(pad="reflect"), "pad='reflect' has no effect without rescale"),
        (lambda: Augment(crop_p=1.0), "crop_p=1.0 has no effect without crop"),
        (lambda: Augment(stamps_p=1.5), r"stamps_p=1.5 must lie in \[0, 1\]"),
        (lambda: CutMix(0.0), r"p=0.0 must lie in \(0, 1\]"),
        (lambda: Mixup(alpha=0.0), "alpha=0.0 must be above 0"),
        (lambda: SmoothL1(beta=0.0), "beta=0.0 must be above 0"),
        (lambda: SmoothL1(weights="some"), "weights='some' is not one of equal, metric"),
        (lambda: SmoothL1(identities=-1.0), "identities=-1.0 must be 0 or a positive number"),
        (lambda: AdamW(lr=0.0), "lr=0.0 must be above 0"),
        (lambda: AdamW(clip_norm=-1.0), "clip_norm=-1.0 must be 0 or a positive number"),
        (lambda: AdamW(layer_decay=1.5), r"layer_decay=1.5 must lie in \(0, 1\]"),
        (lambda: Cosine(epochs=0), "epochs=0 must be at least 1"),
        (lambda: Cosine(length=-1), "length=-1 must be 0 or a positive number"),
        (lambda: SWA(1.0), r"start=1.0 must lie in \[0, 1\)"),
        (lambda: InnerFold(1), "folds=1: one fold trains on nothing"),
        (lambda: InnerFold(mean_of=0), "mean_of=0 must be at least 1"),
        (lambda: InnerFold(of=SWA()), r"of=SWA\(\) is not Last\(\) or EMA\(\)"),
        (lambda: InnerFold(of=InnerFold(of=EMA())), r"of=InnerFold\(.*\) is not Last\(\) or EMA\(\)"),
        (lambda: Batch(0), "size=0 and accumulate=1 must be at least 1"),
    ],
)
def test_a_part_refuses_what_it_cannot_mean_by_field_and_value(make: Any, said: str) -> None:
    with pytest.raises(ExperimentError, match=said):
        make()


def test_a_name_that_kaggle_would_not_take_is_refused_with_the_nearest_that_it_would() -> None:
    assert checked_experiment_name("v7_mine") == "v7_mine"
    for name, near in (("V7 Mine", "v7_mine"), ("x" * 39, "x" * 37), ("", "v7_mine"), (None, "none")):
        with pytest.raises(ExperimentError, match=f"cannot be an experiment's.*e.g. '{near}'"):
            checked_experiment_name(name)
    with pytest.raises(ExperimentError, match="the name 'V9' cannot be an experiment's"):
        replace(TINY, name="V9")


# %%
# Inference


def test_what_only_training_reads_is_exactly_what_an_experiment_adds() -> None:
    predicts, all_fields = ({one.name for one in fields(cls)} for cls in (Predictor, Experiment))
    assert set(TRAINING_FIELDS) == all_fields - predicts and len(TRAINING_FIELDS) == len(set(TRAINING_FIELDS))


@pytest.mark.parametrize("experiment", [*EXPERIMENTS.values(), TINY], ids=lambda e: e.name)
def test_inference_rebuilds_what_predicts_from_the_json_of_the_whole(experiment: Experiment) -> None:
    read = predictor_from_json(json.loads(json.dumps(experiment.as_json())))
    assert type(read) is Predictor
    for one in fields(Predictor):
        assert getattr(read, one.name) == getattr(experiment, one.name)
    assert read.is_frozen == experiment.is_frozen and read.depth_channels == experiment.depth_channels


def test_inference_does_not_look_at_how_it_was_trained_and_refuses_what_it_does_not_have() -> None:
    written = TINY.as_json()
    assert predictor_from_json(written | {"optimizer": {"kind": "Muon"}, "keep": 7}) == predictor_from_json(written)
    with pytest.raises(ExperimentError, match="unknown fields teacher: misspelt, or of a newer kit"):
        predictor_from_json(written | {"teacher": {}})


# %%
# Parts of the photograph


def test_tiles_name_the_cells_of_a_grid_row_by_row() -> None:
    assert tiles(1, 3) == ("tile1x1of1x3", "tile1x2of1x3", "tile1x3of1x3")
    boxes = [part_box(part) for part in tiles(2, 2)]
    assert [(box.row, box.column) for box in boxes if box] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for part in ("middle", "tile3x1of2x2", "tile0x1of2x2", "tile1x1of17x1", "tile1x1of2x2 "):
        assert part_box(part) is None


def test_the_shares_of_parts_and_the_canvas_follow_the_grid() -> None:
    halves = Pictures(height_px=100, width_px=80, parts=HALVES, join=Sum())
    assert halves.count == 2 and sum(halves.shares) == 1 and halves.canvas_px == (100, 160)
    tiled = Pictures(height_px=10, width_px=10, parts=("whole", *tiles(2, 3)), scales=(1.0, 0.5), join=Mean())
    assert tiled.count == 14 and tiled.canvas_px == (20, 30) and tiled.sizes_px == ((10, 10), (5, 5))
