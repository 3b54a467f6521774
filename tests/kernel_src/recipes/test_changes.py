"""Changes by path: a bare name keeps what both have, shorter paths come first, and every mistake has a hint."""

from dataclasses import replace
from typing import Any

import pytest

from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.recipes.changes import changed, known_paths
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import (
    EMA,
    AdamW,
    Bins,
    Constant,
    InnerFold,
    Last,
    Regress,
    RMSprop,
    SmoothL1,
    SquaredError,
    Steps,
)
from kernel_src.recipes.network import DenseHead, Depth, PooledHead
from kernel_src.recipes.spec import ExperimentError
from kernel_src.recipes.training_data import GroupSplit, StratifiedGroupSplit
from tests.kernel_src.tiny import TINY


def test_nothing_else_changes_and_no_changes_change_nothing() -> None:
    assert changed(TINY, {}) == TINY
    assert changed(TINY, {"schedule.epochs": 7}) == replace(TINY, schedule=replace(TINY.schedule, epochs=7))
    assert changed(TINY, {"name": "other", "seed": 1}) == replace(TINY, name="other", seed=1)
    assert TINY.schedule.epochs == 2, "the experiment itself stays as it was"


def test_a_bare_name_keeps_every_field_that_the_present_alternative_has_too() -> None:
    base = replace(TINY, loss=SmoothL1(beta=2.0, identities=0.5), optimizer=AdamW(lr=3e-4, clip_norm=1.0))
    assert changed(base, {"optimizer": "RMSprop"}).optimizer == RMSprop(lr=3e-4, clip_norm=1.0)
    assert changed(base, {"loss": "SquaredError"}).loss == SquaredError(identities=0.5)
    assert changed(base, {"schedule": "Steps"}).schedule == Steps(epochs=2)
    assert changed(base, {"data.split": "StratifiedGroupSplit"}).data.split == StratifiedGroupSplit(2)
    assert changed(base, {"head": "DenseHead"}).head == DenseHead((8,), dropout=0.3, targets="five")


def test_a_spec_or_its_json_replaces_the_whole_alternative() -> None:
    base = replace(TINY, optimizer=AdamW(lr=3e-4, clip_norm=1.0))
    assert changed(base, {"optimizer": RMSprop()}).optimizer == RMSprop()
    assert changed(base, {"optimizer": {"kind": "RMSprop"}}).optimizer == RMSprop()
    assert changed(TINY, {"batch": replace(TINY.batch, size=9)}).batch.size == 9


def test_shorter_paths_are_taken_first_in_whichever_order_they_stand() -> None:
    for changes in ({"keep": "EMA", "keep.decay": 0.5}, {"keep.decay": 0.5, "keep": "EMA"}):
        assert changed(TINY, changes).keep == EMA(0.5)
    both = {"depth.fusion": "add", "depth": Depth("i2b-depth")}
    assert changed(TINY, both).depth == Depth("i2b-depth", fusion="add")
    deep = {"keep.of.decay": 0.5, "keep.of": "EMA", "keep": InnerFold(2)}
    assert changed(TINY, deep).keep == InnerFold(2, of=EMA(0.5))


def test_lists_may_be_tuples_or_lists_of_values_specs_or_json() -> None:
    assert changed(TINY, {"head.hidden": [4, 2]}) == changed(TINY, {"head.hidden": (4, 2)})
    wanted = (Bins(5), Regress("Height_Ave_cm"))
    given: list[Any] = [wanted, [{"kind": "Bins", "count": 5}, {"kind": "Regress", "column": "Height_Ave_cm"}]]
    for value in given:
        assert changed(TINY, {"auxiliary": value}).auxiliary == wanted


def test_none_removes_what_may_be_absent() -> None:
    deep = replace(TINY, depth=Depth("i2b-depth"))
    for word in (None, "none", "None", ""):
        assert changed(deep, {"depth": word}) == TINY
    with pytest.raises(ExperimentError, match="loss=None is not one of SquaredError, SmoothL1"):
        changed(TINY, {"loss": "none"})


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"epoch": 3}, "epoch: Experiment has no field 'epoch'; there are name, encoder"),
    ({"kep": "EMA"}, "kep: Experiment has no field 'kep'; there are name"),
    ({"schedule.epoch": 3}, "schedule.epoch: Cosine has no field 'epoch'; there are epochs, length"),
    ({"keep.decay": 0.5}, "keep.decay: Last has no field 'decay', which EMA can have"),
    ({"schedule.every": 3}, "schedule.every: Cosine has no field 'every', which Steps can have"),
    ({"optimizer.momentum": 0.9}, "optimizer.momentum: AdamW has no field 'momentum'; there are lr, backbone_lr"),
    ({"seed.x": 1}, "seed.x: seed has no fields"),
    ({"depth.fusion": "add"}, r"depth.fusion: there is no depth; give it first, e.g. depth=Depth\(…\)"),
    (
        {"data.external.dataset": "x"},
        r"there is no data.external; give it first, e.g. data.external=External\(…\)",
    ),
    ({"loss": "Huber"}, "loss=Huber: not one of SquaredError, SmoothL1, MetricSquaredError"),
    ({"depth": "Depth"}, r"depth \(Depth\) lacks weights"),
    ({"schedule.epochs": 0}, "schedule: Cosine: epochs=0 must be at least 1"),
    ({"schedule.epochs": "3"}, "schedule.epochs='3' is not a whole number"),
    ({"batch": "Large"}, "batch=Large: not one of Batch"),
]


@pytest.mark.parametrize(("changes", "said"), WRONG, ids=lambda case: str(case)[:40])
def test_a_wrong_path_or_value_is_refused_with_a_hint(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ExperimentError, match=said):
        changed(TINY, changes)


def test_every_path_of_every_listed_experiment_is_known() -> None:
    paths = known_paths()

    def below(values: dict[str, Any], above: str = "") -> set[str]:
        found = set()
        for name, value in values.items():
            if name != "kind":
                found |= {above + name} | (below(value, f"{above}{name}.") if isinstance(value, dict) else set())
        return found

    for experiment in EXPERIMENTS.values():
        assert below(experiment.as_json()) <= paths.keys()
    assert {"keep.decay", "keep.of.decay", "schedule.warmup", "data.split.seed", "augment.mix.alpha"} <= paths.keys()
    assert paths["optimizer.lr"] is float and paths["head.hidden"] == tuple[int, ...]


def test_changing_to_what_is_there_changes_nothing() -> None:
    for experiment in EXPERIMENTS.values():
        whole = {name: getattr(experiment, name) for name in experiment.as_json()}
        assert changed(experiment, whole) == experiment
    kinds: dict[str, Any] = {"keep": Last(), "head": PooledHead((8,)), "data.split": GroupSplit(2)}
    assert changed(TINY, kinds) == TINY
    assert isinstance(changed(TINY, {"schedule": Constant()}), Experiment)
