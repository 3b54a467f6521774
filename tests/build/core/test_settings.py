"""SET and FOLDS: every field by its own type, every alternative by its class, and every mistake named with a hint."""

import json
from pathlib import Path
from typing import Any

import pytest

from build.core.errors import UsageError
from build.core.settings import OTHER_NAMES, apply_changes, as_typed, find_experiment, parse_changes, parse_folds, paths
from build.make import arguments
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.recipes.learning import EMA, Bins, Classify, InnerFold, Last, Regress, SmoothL1
from kernel_src.recipes.network import Depth, FirstGroups
from kernel_src.recipes.pictures import HALVES, SideBySide
from kernel_src.recipes.spec import by_path
from kernel_src.recipes.training_data import CutMix, LeaveGroupOut

V1, V5 = EXPERIMENTS["v1"], EXPERIMENTS["v5"]


def at(experiment: Any, path: str) -> Any:
    for name in path.split("."):
        experiment = getattr(experiment, name)
    return experiment


# What is typed → the value of which field of V5 it makes
TYPED: list[tuple[str, str, Any]] = [
    ("schedule.epochs=3", "schedule.epochs", 3),
    ("optimizer.lr=1e-3", "optimizer.lr", 1e-3),
    ("head.hidden=256,64", "head.hidden", (256, 64)),
    ("head.hidden=", "head.hidden", ()),
    ("encoder.layers=1", "encoder.layers", (1,)),
    ("encoder.checkpointing=yes", "encoder.checkpointing", True),
    ("encoder.checkpointing=False", "encoder.checkpointing", False),
    ("encoder.weights=", "encoder.weights", ""),
    ("encoder.timm=resnet34.a1_in1k", "encoder.timm", "resnet34.a1_in1k"),
    ("data.train_folds=0,2", "data.train_folds", (0, 2)),
    ("pictures.parts=left,right pictures.join=SideBySide depth=none", "pictures.parts", HALVES),
    ("pictures.join=SideBySide pictures.parts=left,right depth=none", "pictures.join", SideBySide()),
    ("augment.crop=0.5,1 depth=none", "augment.crop", (0.5, 1.0)),
    ("augment.crop=none", "augment.crop", None),
    ("augment.mix=CutMix(0.5) depth=none", "augment.mix", CutMix(0.5)),
    ("loss=SmoothL1", "loss", SmoothL1()),
    ("loss=SmoothL1()", "loss", SmoothL1()),
    ("loss=SmoothL1(beta=5)", "loss", SmoothL1(beta=5)),
    ("loss=SmoothL1(5,weights='metric')", "loss", SmoothL1(5, "metric")),
    ("loss=SmoothL1 loss.beta=5", "loss", SmoothL1(beta=5.0)),
    ("loss.beta=5 loss=SmoothL1", "loss", SmoothL1(beta=5.0)),
    ("keep=EMA", "keep", EMA()),
    ("keep=EMA keep.decay=0.9", "keep", EMA(0.9)),
    ("keep=InnerFold(2,of=EMA(0.9))", "keep", InnerFold(2, of=EMA(0.9))),
    ("keep=InnerFold(2, of=EMA)", "keep", InnerFold(2, of=EMA())),
    ("encoder.freeze=FirstGroups(2)", "encoder.freeze", FirstGroups(2)),
    ("auxiliary=Bins(7),Classify('State')", "auxiliary", (Bins(7), Classify("State"))),
    (
        'auxiliary=Bins(count=5, weight=0.1),Regress("Height_Ave_cm")',
        "auxiliary",
        (Bins(5, 0.1), Regress("Height_Ave_cm")),
    ),
    ("auxiliary=Bins", "auxiliary", (Bins(),)),
    ("auxiliary=", "auxiliary", ()),
    ("depth=none", "depth", None),
    ("depth=Depth('i2b-depth',channels=2)", "depth", Depth("i2b-depth", channels=2)),
    ("depth.fusion=add", "depth.fusion", "add"),
    ("data.external=none", "data.external", None),
    ("data.split=LeaveGroupOut", "data.split", LeaveGroupOut()),
    ("batch=Batch(4)", "batch.size", 4),
]


@pytest.mark.parametrize(("typed", "path", "value"), TYPED, ids=lambda case: str(case)[:50])
def test_each_value_is_read_by_its_fields_type(typed: str, path: str, value: Any) -> None:
    assert at(apply_changes(V5, parse_changes([typed])), path) == value


@pytest.mark.parametrize("typed", [typed for typed, _, _ in TYPED])
def test_changes_can_be_written_as_they_are_typed(typed: str) -> None:
    """Messages say what to type."""
    changes = parse_changes([typed])
    assert parse_changes([as_typed(changes)]) == changes


def test_words_may_stand_in_one_text_or_in_several() -> None:
    together = parse_changes(["schedule.epochs=3 keep=EMA(decay=0.5)"])
    assert together == parse_changes(["schedule.epochs=3", "keep=EMA(decay=0.5)"])
    assert together == {"schedule.epochs": 3, "keep": {"kind": "EMA", "decay": 0.5}}


@pytest.mark.parametrize(
    "text", ["auxiliary=Bins(7),Classify('State')", 'auxiliary=Bins(7), Classify("State")', "keep=EMA"]
)
def test_quotes_and_brackets_come_through_make(text: str) -> None:
    text = text.replace("), ", "),")
    (option,), _ = arguments(["--set=SET"], {"SET": text})
    assert option == f"--set={text}"
    assert parse_changes([option.removeprefix("--set=")]) == parse_changes([text])


# %%
# Mistakes

MISTAKES: list[tuple[str, str]] = [
    ("lr=1e-3", "no field 'lr', did you mean optimizer.lr?"),
    ("epochs=3", "no field 'epochs', did you mean schedule.epochs?"),
    ("epoch=3", "no field 'epoch', did you mean schedule.epochs?"),
    ("schedule.epoch=3", "no field 'schedule.epoch', did you mean schedule.epochs?"),
    ("learning_rate=1e-3", "did you mean optimizer.lr?"),
    ("lerning_rate=1e-3", "did you mean optimizer.lr?"),
    ("batch_size=4", "did you mean batch.size?"),
    ("head_hidden=4", "did you mean head.hidden?"),
    ("split_seed=4", "did you mean data.split.seed?"),
    ("folds=3", "did you mean keep.folds or data.split.folds"),
    ("train_folds=3", "did you mean data.train_folds?"),
    ("inner_folds=8", r"did you mean keep=InnerFold\(8\)\?"),
    ("schedule_epochs=8", "did you mean schedule.length or schedule.every?"),
    ("tta=none", "did you mean predict.tta?"),
    ("xyzzy=1", "an experiment has no field 'xyzzy'; it begins with one of encoder, pictures, head"),
    ("schedule.epochs=three", "schedule.epochs='three' is not a whole number"),
    ("optimizer.lr=fast", "optimizer.lr='fast' is not a number"),
    ("encoder.checkpointing=perhaps", "encoder.checkpointing='perhaps' is neither true nor false"),
    ("head.hidden=8,wide", "head.hidden='8,wide' is not a whole number"),
    ("schedule.epochs", "'schedule.epochs' is not path=value"),
    ("loss=mse", "loss='mse' is not one of SquaredError, SmoothL1"),
    ("loss=SmoothL1(beta=x)", "loss=.* holds beta=x, which is not a plain value"),
    ("loss=SmoothL1(beta", "loss=.* is not one of SquaredError, SmoothL1.*, perhaps with fields: SquaredError"),
    ("keep=__import__('os')", "keep=.* is not one of Last, EMA, SWA, InnerFold"),
    ("auxiliary=Bins(7)Classify", "auxiliary=.* is not a list such as"),
    ("auxiliary=Bin(7)", "auxiliary='Bin.7.' is not one of Bins, Regress, Classify"),
    ("keep=EMA(0.9,0.8)", "keep=.* gives 2 values without names, and EMA takes 1 so"),
    ("auxiliary=Bins(**{})", r"auxiliary=.* is not written as Bins\(field=value\)"),
]


@pytest.mark.parametrize(("typed", "said"), MISTAKES, ids=lambda case: str(case)[:40])
def test_a_mistake_is_named_with_a_hint(typed: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_changes([typed])


def test_every_wrong_word_is_named_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        parse_changes(["epoch=3 schedule.epochs=three encoder.checkpointing=perhaps lr optimizer.lr=1e-3"])
    assert len(str(caught.value).splitlines()) == 4


def test_every_other_name_leads_to_a_field_that_there_is() -> None:
    for old, now in OTHER_NAMES.items():
        assert old not in paths()
        for one in now:
            path, _, value = one.partition("=")
            assert path in paths()
            if value and "…" not in value:
                assert parse_changes([one])


IMPOSSIBLE: list[tuple[str, str]] = [
    ("schedule.epochs=0", "schedule: Cosine: epochs=0 must be at least 1: check SET and FOLDS"),
    ("keep.decay=0.5", "keep.decay: Last has no field 'decay', which EMA can have"),
    ("keep=EMA(share=1)", r"keep \(EMA\) has unknown fields share"),
    ("data.train_folds=7", "names 7; the folds are 0 to 4"),
    ("pictures.parts=left,right", "2 pictures need a join"),
]


@pytest.mark.parametrize(("typed", "said"), IMPOSSIBLE)
def test_a_value_that_the_experiment_cannot_have_is_an_invalid_command(typed: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        apply_changes(V1, parse_changes([typed]))


def test_the_name_cannot_be_changed_because_it_names_the_bundle() -> None:
    with pytest.raises(UsageError, match="no field 'name'"):
        parse_changes(["name=v9"])


# %%
# Files, folds, experiments


def test_a_file_stands_for_the_changes_in_it(tmp_path: Path) -> None:
    best = tmp_path / "best.json"
    found = {"schedule.epochs": 7, "loss": "Log1pError", "keep": {"kind": "EMA", "decay": 0.9}}
    best.write_text(json.dumps({"experiment": "v1", "changes": found}))
    read = parse_changes([f"@{best} schedule.epochs=2"])
    assert read == found | {"schedule.epochs": 2}
    assert apply_changes(V1, read).keep == EMA(0.9) != V1.keep == Last()
    best.write_text(json.dumps({"learning_rate": 1e-3}))
    with pytest.raises(UsageError, match="did you mean optimizer.lr"):
        parse_changes([f"@{best}"])
    best.write_text("[]")
    with pytest.raises(UsageError, match="not a JSON object"):
        parse_changes([f"@{best}"])
    with pytest.raises(UsageError, match="no such file"):
        parse_changes([f"@{tmp_path / 'other.json'}"])


def test_the_whole_of_an_experiment_can_be_typed_by_path() -> None:
    """What `by_path` lists of one is what SET takes."""
    for path, value in by_path(V5.as_json()).items():
        if path != "name" and not path.endswith("kind"):
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            assert apply_changes(V5, parse_changes([f"{path}={text}"])) == V5


def test_folds_become_train_folds() -> None:
    assert parse_folds("0,2") == {"data.train_folds": [0, 2]} and parse_folds("") == {}
    with pytest.raises(UsageError, match="FOLDS=0,1"):
        parse_folds("first")


def test_an_unknown_experiment_is_an_invalid_command_and_so_is_one_that_is_not_trained() -> None:
    with pytest.raises(UsageError, match="Did you mean v5_componly"):
        find_experiment("v5_compony")
    with pytest.raises(UsageError, match="frozen_dinov2 is not trained, its features are frozen"):
        find_experiment("frozen_dinov2")
