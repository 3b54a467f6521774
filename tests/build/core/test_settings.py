"""SET and FOLDS: every field by its own type, and every wrong word named."""

import json
from pathlib import Path

import pytest

from build.core.errors import UsageError
from build.core.settings import apply_changes, find_experiment, parse_changes, parse_folds
from kernel_src.recipes.experiments import EXPERIMENTS


def test_each_value_is_read_by_its_fields_type() -> None:
    changes = parse_changes(["epochs=3 learning_rate=1e-3", "head_hidden=256,64 gradient_checkpointing=yes loss=log1p"])
    assert changes == {
        "epochs": 3,
        "learning_rate": 1e-3,
        "head_hidden": [256, 64],
        "gradient_checkpointing": True,
        "loss": "log1p",
    }
    assert apply_changes(EXPERIMENTS["v1"], changes).head_hidden == (256, 64)


def test_nothing_after_the_sign_empties_a_text_or_a_list() -> None:
    assert parse_changes(["starting_weights= train_folds="]) == {"starting_weights": "", "train_folds": []}


def test_every_wrong_word_is_named_at_once_with_the_nearest_field() -> None:
    with pytest.raises(UsageError) as caught:
        parse_changes(["epoch=3 epochs=three gradient_checkpointing=perhaps lr learning_rate=1e-3"])
    message = str(caught.value)
    assert "did you mean epochs?" in message and "epochs='three' is not a whole number" in message
    assert "neither true nor false" in message and "'lr' is not field=value" in message
    assert len(message.splitlines()) == 4


def test_the_name_cannot_be_changed_because_it_names_the_bundle() -> None:
    with pytest.raises(UsageError, match="no field 'name'"):
        parse_changes(["name=v9"])


def test_a_file_stands_for_the_changes_in_it(tmp_path: Path) -> None:
    best = tmp_path / "best.json"
    best.write_text(json.dumps({"experiment": "v1", "changes": {"epochs": 7, "loss": "mse"}}))
    assert parse_changes([f"@{best} epochs=2"]) == {"epochs": 2, "loss": "mse"}
    best.write_text("[]")
    with pytest.raises(UsageError, match="not JSON object"):
        parse_changes([f"@{best}"])
    with pytest.raises(UsageError, match="no such file"):
        parse_changes([f"@{tmp_path / 'other.json'}"])


def test_folds_become_train_folds() -> None:
    assert parse_folds("0,2") == {"train_folds": [0, 2]} and parse_folds("") == {}
    with pytest.raises(UsageError, match="FOLDS=0,1"):
        parse_folds("first")


def test_an_impossible_value_and_an_unknown_experiment_are_wrong_use() -> None:
    with pytest.raises(UsageError, match="loss='l7' is not one of"):
        apply_changes(EXPERIMENTS["v1"], {"loss": "l7"})
    with pytest.raises(UsageError, match="Did you mean v5_componly"):
        find_experiment("v5_compony")
