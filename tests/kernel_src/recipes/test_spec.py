"""Specs: JSON changes nothing, and what cannot be meant is refused by its path."""

import copy
import json
import pickle
from dataclasses import FrozenInstanceError, fields, replace
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import EMA, AdamW, Bins, Constant, Cosine, InnerFold, Last, SmoothL1, Steps
from kernel_src.recipes.network import DEPTH_FUSIONS, DEPTH_VIEWS, POOLINGS, PRECISIONS, TARGET_FORMS, PooledHead
from kernel_src.recipes.pictures import NAMED_PARTS, Pictures, tiles
from kernel_src.recipes.predictor import CONSTRAINTS, TTA_SETS
from kernel_src.recipes.spec import (
    ExperimentError,
    Spec,
    as_alternative,
    by_path,
    default_of,
    described,
    field_types,
    fits,
    kinds_of,
)
from kernel_src.recipes.training_data import AUGMENTATIONS, Augment, CutMix, Data, External, GroupSplit
from tests.kernel_src.tiny import TINY

# Words that some field takes; every class is tried with them, and takes some.
WORDS = (
    *("relu", "gelu", "sum", "mean", "equal", "metric", "batch", "folds", "black", "reflect", "i2b-a-dataset", "me/x"),
    *("resnet34", "Height_Ave_cm", "v9", *TARGET_FORMS, *POOLINGS, *PRECISIONS, *DEPTH_FUSIONS, *DEPTH_VIEWS),
    *(*TTA_SETS, *CONSTRAINTS, *AUGMENTATIONS, *NAMED_PARTS, *tiles(2, 3)),
)


def all_specs() -> list[type[Spec]]:
    """Every class of which an experiment can have one, itself the first."""
    found: dict[type[Spec], None] = {Experiment: None}
    waiting = [Experiment]
    while waiting:
        for kind in field_types(waiting.pop()).values():
            for option in get_args(kind) if isinstance(kind, UnionType) else (kind,):
                base = get_args(option)[0] if get_origin(option) is tuple else option
                if isinstance(base, type) and issubclass(base, Spec):
                    new = [one for one in kinds_of(base).values() if one not in found]
                    found |= dict.fromkeys(new)
                    waiting += new
    return list(found)


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a declared type; few of them are refused."""
    if isinstance(kind, UnionType):
        return st.one_of(*map(values_of, get_args(kind)))
    if get_origin(kind) is tuple:
        items = get_args(kind)
        if items[-1] is Ellipsis:
            return st.lists(values_of(items[0]), max_size=3, unique=True).map(tuple)
        return st.tuples(*map(values_of, items)).map(lambda pair: tuple(sorted(pair)))
    if isinstance(kind, type) and issubclass(kind, Spec):
        return st.one_of(*map(specs, kinds_of(kind).values()))
    plain = {
        str: st.sampled_from(WORDS),
        bool: st.booleans(),
        int: st.integers(0, 9),
        float: st.floats(0, 1) | st.integers(1, 3),
        NoneType: st.none(),
    }
    return plain[kind]


@st.composite
def specs(draw: st.DrawFn, cls: type[Spec]) -> Spec:
    """A value of a class: its defaults, and one or two fields drawn."""
    types, needed = field_types(cls), [one.name for one in fields(cls) if not has_default(cls, one.name)]
    chosen = draw(st.lists(st.sampled_from(list(types)), max_size=2)) if types else []
    given_values = {name: draw(values_of(types[name])) for name in {*needed, *chosen} - {"name"}}
    if "name" in needed:
        given_values["name"] = "drawn"
    try:
        return cls(**given_values)
    except ExperimentError:
        assume(False)
        raise


def has_default(cls: type[Spec], name: str) -> bool:
    try:
        cls.from_json({})
    except ExperimentError as error:
        return name not in str(error).partition("lacks ")[2].split(", ")
    return True


# %%
@pytest.mark.parametrize("cls", all_specs(), ids=lambda cls: cls.__name__)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_alternative_goes_through_json_unchanged(cls: type[Spec], data: st.DataObject) -> None:
    value = data.draw(specs(cls))
    carried = json.loads(json.dumps(value.as_json(), allow_nan=False))
    again = cls.from_json(carried)
    assert again == value and hash(again) == hash(value) and repr(again) == repr(value)
    assert type(again) is cls and again.as_json() == value.as_json()


def test_the_walk_above_finds_the_classes_that_there_are() -> None:
    assert {Experiment, SmoothL1, EMA, InnerFold, CutMix, Bins, External, PooledHead} <= set(all_specs())
    assert len(all_specs()) > 40


@pytest.mark.parametrize("experiment", [*EXPERIMENTS.values(), TINY], ids=lambda e: e.name)
def test_a_listed_experiment_goes_through_json_unchanged(experiment: Experiment) -> None:
    assert Experiment.from_json(json.loads(json.dumps(experiment.as_json()))) == experiment


def test_an_alternative_carries_its_class_and_a_plain_part_none() -> None:
    written = replace(TINY, keep=InnerFold(2, of=EMA(0.9)), auxiliary=(Bins(5),)).as_json()
    assert written["keep"] == {
        "kind": "InnerFold",
        "folds": 2,
        "patience": 0,
        "of": {"kind": "EMA", "decay": 0.9},
        "mean_of": 1,
    }
    assert written["auxiliary"] == [{"kind": "Bins", "count": 5, "weight": 0.3}]
    assert written["batch"] == {"size": 4, "accumulate": 1} and written["depth"] is None
    assert as_alternative(EMA(0.9)) == {"kind": "EMA", "decay": 0.9}


def test_a_field_that_json_does_not_name_has_its_default() -> None:
    assert InnerFold.from_json({"folds": 3}) == InnerFold(3)
    assert Experiment.from_json({"name": "v9", "encoder": {"timm": "resnet34"}}).keep == Last()


def test_the_fields_of_json_by_their_paths() -> None:
    paths = by_path(TINY.as_json())
    assert paths["optimizer.kind"] == "AdamW" and paths["optimizer.lr"] == 1e-3 and paths["depth"] is None
    assert paths["data.split.folds"] == 2 and paths["pictures.parts"] == ["whole"]


# %%
# What is refused

OF_JSON: list[tuple[dict[str, Any], str]] = [
    ({"lerning_rate": 1.0}, "experiment has unknown fields lerning_rate: misspelt, or of a newer kit"),
    ({"a b\n": 1}, r"experiment has unknown fields 'a b\\n'"),
    ({"optimizer": {"kind": "AdamW", "rate": 1}}, r"optimizer \(AdamW\) has unknown fields rate"),
    ({"optimizer": {"kind": "Adam"}}, "optimizer: 'Adam' is not one of AdamW, RMSprop"),
    ({"optimizer": {"lr": 1e-3}}, "optimizer: None is not one of AdamW, RMSprop"),
    ({"optimizer": "AdamW"}, "optimizer='AdamW' is not one of AdamW, RMSprop"),
    ({"optimizer": None}, "optimizer=None is not one of AdamW, RMSprop"),
    ({"optimizer": {"kind": "AdamW", "lr": "1e-3"}}, "optimizer.lr='1e-3' is not a finite number"),
    ({"optimizer": {"kind": "AdamW", "lr": float("nan")}}, "optimizer.lr=nan is not a finite number"),
    ({"optimizer": {"kind": "AdamW", "lr": float("inf")}}, "optimizer.lr=inf is not a finite number"),
    ({"optimizer": {"kind": "AdamW", "lr": -1.0}}, r"optimizer: AdamW: lr=-1.0 must be above 0"),
    ({"schedule": {"kind": "Cosine", "epochs": 2.0}}, "schedule.epochs=2.0 is not a whole number"),
    ({"schedule": {"kind": "Cosine", "epochs": True}}, "schedule.epochs=True is not a whole number"),
    ({"batch": {"kind": "Batch", "size": 4}}, r"batch \(Batch\) has unknown fields kind"),
    ({"seed": "42"}, "seed='42' is not a whole number"),
    ({"name": 7}, "name=7 is not a line of text"),
    ({"head": {"kind": "PooledHead", "hidden": 8}}, "head.hidden=8 is not a list, each of which is a whole number"),
    ({"head": {"kind": "PooledHead", "hidden": [8, "4"]}}, r"head.hidden\[1\]='4' is not a whole number"),
    ({"augment": {"crop": [0.5]}}, r"augment.crop=\[0.5\] is not a list of 2: a finite number, a finite number or"),
    ({"augment": {"mix": {"kind": "CutMix", "p": 0.0}}}, r"augment.mix: CutMix: p=0.0 must lie in \(0, 1\]"),
    ({"data": {"external": {}}}, r"data.external \(External\) lacks dataset"),
    ({"data": {"external": {"dataset": "i2b-x\ny"}}}, "data.external.dataset=.* is not a line of text"),
    ({"data": {"split": {"kind": "GroupSplit", "folds": 1}}}, "data.split: GroupSplit: folds=1: one fold trains"),
    ({"keep": {"kind": "InnerFold", "of": {"kind": "EMA", "decay": 1.0}}}, r"keep.of: EMA: decay=1.0 must lie in"),
    ({"keep": {"kind": "InnerFold", "of": {"kind": "Best"}}}, "keep.of: 'Best' is not one of Last, EMA, SWA"),
    ({"auxiliary": [{"kind": "Bins"}, {"kind": "Bin"}]}, r"auxiliary\[1\]: 'Bin' is not one of Bins, Regress"),
    ({"auxiliary": {"kind": "Bins"}}, "auxiliary={'kind': 'Bins'} is not a list"),
]


@pytest.mark.parametrize(("values", "said"), OF_JSON, ids=lambda case: str(case)[:40])
def test_json_that_cannot_be_meant_is_refused_by_the_path_of_the_field(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ExperimentError, match=said):
        Experiment.from_json(TINY.as_json() | values)


def test_what_has_no_default_must_be_there() -> None:
    with pytest.raises(ExperimentError, match="^experiment lacks name, encoder$"):
        Experiment.from_json({})


def test_a_text_from_outside_is_quoted_and_cut_short() -> None:
    with pytest.raises(ExperimentError) as caught:
        Experiment.from_json(TINY.as_json() | {"seed": "\x1b[31m" + "x" * 10_000})
    assert "\x1b" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: EMA("0.9"), "EMA: decay='0.9' is not a finite number"),
        (lambda: EMA(float("nan")), "EMA: decay=nan is not a finite number"),
        (lambda: EMA(True), "EMA: decay=True is not a finite number"),
        (lambda: Pictures(parts=["whole"]), "Pictures: parts=.* is not a list, each of which is a line of text"),
        (lambda: Augment(crop=(0.5, 1.0, 1.0)), "Augment: crop=.* is not a list of 2"),
        (lambda: InnerFold(of="Last"), "InnerFold: of='Last' is not one of Last, EMA, SWA, InnerFold"),
        (lambda: Data(external=GroupSplit()), r"Data: external=.* is not one of External or nothing"),
        (lambda: replace(TINY, keep=AdamW()), "tiny: keep=.* is not one of Last, EMA, SWA, InnerFold"),
    ],
)
def test_a_value_of_another_type_is_refused_by_class_and_field(make: Any, said: str) -> None:
    with pytest.raises(ExperimentError, match=said):
        make()


# %%
# What it is to write and to hold


def test_fields_are_given_by_place_or_by_name_and_common_ones_by_name_only() -> None:
    assert EMA(0.9) == EMA(decay=0.9) and Bins(7, 0.3) == Bins(count=7, weight=0.3)
    assert Augment("none") == Augment(preset="none") and GroupSplit(3, 1) == GroupSplit(folds=3, seed=1)
    assert Steps(epochs=3, every=1).epochs == 3
    for make in (lambda: Steps(3, 1, 0.1, 5), lambda: AdamW(1e-3), lambda: EMA(0.9, 1), lambda: EMA(share=0.9)):
        with pytest.raises(TypeError):
            make()


def test_a_spec_is_equal_to_what_has_its_class_and_its_values_and_to_nothing_else() -> None:
    assert EMA(0.9) == EMA(0.9) != EMA(0.8) and hash(EMA(0.9)) == hash(EMA(0.9))
    assert Constant(epochs=3) != Cosine(epochs=3) and EMA(0.9) != 0.9
    assert len({EMA(0.9), EMA(0.9), EMA(0.8), Constant(epochs=3), Cosine(epochs=3)}) == 4
    assert {TINY: 1}[replace(TINY)] == 1


def test_a_spec_shows_the_call_that_makes_it_without_what_has_its_default() -> None:
    assert repr(InnerFold(2, of=EMA(0.9))) == "InnerFold(folds=2, of=EMA(decay=0.9))"
    assert repr(InnerFold(8, mean_of=3)) == "InnerFold(mean_of=3)"
    names = {one.__name__: one for one in all_specs()}
    assert eval(repr(TINY), names) == TINY


def test_a_spec_cannot_be_changed_in_place() -> None:
    keep = EMA(0.9)
    for change in (
        lambda: setattr(keep, "decay", 0.8),
        lambda: setattr(keep, "deacy", 0.8),
        lambda: delattr(keep, "decay"),
        lambda: setattr(TINY, "keep", keep),
    ):
        with pytest.raises(FrozenInstanceError):
            change()
    assert keep == EMA(0.9) and replace(keep, decay=0.8) == EMA(0.8)


def test_a_spec_goes_to_other_processes() -> None:
    assert pickle.loads(pickle.dumps(TINY)) == TINY == copy.deepcopy(TINY)


def test_types_are_told_and_described() -> None:
    assert fits(3, float) and not fits(3.0, int) and not fits(True, int) and not fits(float("nan"), float)
    assert fits((1, 2), tuple[int, ...]) and not fits([1, 2], tuple[int, ...]) and not fits((1,), tuple[int, int])
    assert fits(None, External | None) and fits("a", str) and not fits("a\n", str)
    assert described(tuple[float, float] | None) == "a list of 2: a finite number, a finite number or nothing"
    assert default_of(Experiment, "keep") == Last() and default_of(Experiment, "seed") == 42
