"""A recipe that the competition does not allow is refused where its notebook is built and where its training begins."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kernel_src.competition import choice
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.competitions.kernel_cards import kernel_card
from kernel_src.recipes.changes import changed
from kernel_src.recipes.learning import Bins, CrossEntropy, SmoothL1, SquaredError
from kernel_src.recipes.network import DenseHead, Inputs, PooledHead
from kernel_src.recipes.predictor import require_suited
from kernel_src.recipes.spec import ExperimentError
from kernel_src.recipes.training_data import External
from kernel_src.training.runs import train_run
from tests.kernel_src.tiny import CPU, TINY

# Experiment, changes to it, and what the refusal says.
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("leaf", {"loss": SmoothL1(beta=2.0)}, r"leaf: loss=SmoothL1\(beta=2.0\) measures numbers, and leaf has classes"),
    (
        "paws",
        {"loss": CrossEntropy()},
        r"paws: loss=CrossEntropy\(\) measures classes, and paws has numbers: ",
    ),
    ("demo", {"loss": CrossEntropy()}, r"demo: loss=CrossEntropy\(\) measures classes, and biomass has numbers"),
    ("leaf", {"auxiliary": (Bins(),)}, r"Bins\(\) cuts numbers into intervals, and leaf has classes: leave it out"),
    (
        "leaf",
        {"head": DenseHead()},
        r"head=DenseHead\(\) answers by numbers, and leaf has classes: set it",
    ),
    ("leaf", {"inputs": Inputs()}, r"inputs=Inputs\(\) reads numbers of the table, and leaf has none at test time"),
    ("paws", {"inputs": Inputs(("Eyes", "Ears"))}, r"inputs.columns names Ears; paws has Subject Focus, Eyes, "),
    ("demo", {"inputs": Inputs()}, r"and biomass has none at test time: set it to none"),
    (
        "paws",
        {"head": PooledHead(targets="shares")},
        r"adds parts up, and no target of paws is a sum: set",
    ),
    ("paws", {"loss": SquaredError(identities=0.1)}, r"loss.identities=0.1 weighs broken sums, and paws has none"),
    ("paws", {"data.external": External("i2b-grassclover")}, r"data.external scales amounts .*, and paws has none"),
    ("paws", {"data.drop": ("wa_without_green",)}, r"data.drop names wa_without_green; paws has no such rule"),
]


@pytest.mark.parametrize(("name", "changes", "said"), REFUSED, ids=lambda value: str(value)[:40])
def test_the_notebook_is_not_built_and_the_message_has_field_and_cure(
    name: str, changes: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXPERIMENTS, name, changed(EXPERIMENTS[name], changes))
    for kernel in ("train", "infer") if set(changes) & {"head", "inputs"} else ("train",):
        with pytest.raises(ExperimentError, match=said):
            kernel_card(name, kernel)


def test_training_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_chosen", ["leaf"])
    with pytest.raises(ExperimentError, match="tiny: loss=SquaredError.* measures numbers, and leaf has classes"):
        train_run(TINY, pd.DataFrame(), tmp_path, device=CPU, starting_weights=None, folder=tmp_path, cache=tmp_path)
    assert not list(tmp_path.iterdir())


def test_all_listed_experiments_are_allowed_where_they_belong() -> None:
    from kernel_src.competitions.held_recipes import COMPETITION_OF

    for name, experiment in EXPERIMENTS.items():
        require_suited(experiment, facts(COMPETITION_OF[name]))


def test_numbers_of_the_table_go_neither_with_a_regressor_nor_with_test_time_training() -> None:
    with pytest.raises(ExperimentError, match="a regressor reads frozen features alone: set inputs to none"):
        changed(EXPERIMENTS["frozen_dinov2"], {"inputs": Inputs()})
    with pytest.raises(ExperimentError, match="predict.adapt trains .* not made for inputs: set it to none"):
        changed(EXPERIMENTS["paws"], {"predict.adapt": "TestTimeTraining"})
