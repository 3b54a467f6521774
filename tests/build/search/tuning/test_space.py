"""The search space is data: the default, what restricts it, and changes that always make a legal experiment."""

import optuna
import pytest

from build.core.errors import UsageError
from build.search.tuning.space import SIZE, SPACE, Choice, Range, draw, parse_dimension, space_for
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.recipes.changes import changed

V5, V7 = EXPERIMENTS["v5"], EXPERIMENTS["v7"]


def test_the_default_covers_what_the_seed_searched() -> None:
    assert {"optimizer", "optimizer.lr", "loss", "encoder.timm", SIZE, "augment.preset"} <= set(SPACE)


def test_ranges_and_choices_are_read_by_the_fields_type() -> None:
    assert parse_dimension("optimizer.lr", "1e-5..1e-3") == Range(1e-5, 1e-3, log=True)
    assert parse_dimension("head.dropout", "0..0.5") == Range(0, 0.5)
    assert parse_dimension("schedule.epochs", "5..30") == Range(5, 30, whole=True)
    assert parse_dimension("loss", "SquaredError,Log1pError") == Choice(("SquaredError", "Log1pError"))
    assert parse_dimension("batch.size", "8,16") == Choice((8, 16))


def test_a_restriction_narrows_and_adds_and_a_fixed_field_is_not_searched() -> None:
    space = space_for(
        V5, ["loss=SquaredError,Log1pError head.dropout=0.1..0.5", "optimizer=AdamW"], {"optimizer.lr": 1e-4}
    )
    assert space["loss"] == Choice(("SquaredError", "Log1pError")) and space["head.dropout"] == Range(0.1, 0.5)
    assert "optimizer.lr" not in space and "optimizer.backbone_lr" not in space, "v5 has one rate"
    assert "optimizer.backbone_lr" in space_for(V7, [], {})
    assert SIZE not in space_for(V5, [], {"pictures.height_px": 384})


def test_every_wrong_restriction_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        space_for(V5, ["los=SquaredError data.split.folds=2,3 loss=1..2 optimizer.lr=1e-3..1e-5 loss="], {})
    message = str(caught.value)
    assert "did you mean loss?" in message and "data.split.folds is not searched" in message
    assert "is not a number" in message and "range is empty" in message and len(message.splitlines()) == 5


def test_a_space_of_one_point_is_refused() -> None:
    one = ["optimizer=AdamW", "optimizer.lr=1e-4", "loss=SquaredError"]
    with pytest.raises(UsageError, match="nothing is left to search"):
        space_for(V5, [*one, "optimizer.weight_decay=0.1 image_px=384 augment.preset=moderate"], {})


@pytest.mark.parametrize("experiment", [V5, V7, EXPERIMENTS["demo"]])
def test_whatever_is_drawn_is_a_legal_experiment_of_whole_patches(experiment) -> None:
    space = space_for(experiment, ["image_px=300..600 encoder.timm=resnet34,vit_base_patch14_dinov2"], {})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    shape = experiment.pictures.width_px / experiment.pictures.height_px
    for _ in range(20):
        drawn = changed(experiment, draw(study.ask(), space, experiment))
        assert drawn.pictures.width_px / drawn.pictures.height_px == pytest.approx(shape, rel=0.03)
        if "patch14" in drawn.encoder.timm:
            assert drawn.pictures.height_px % 14 == 0 and drawn.pictures.width_px % 14 == 0
