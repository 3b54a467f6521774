"""`compare`, `blend` and the board on two other competitions: ten classes by accuracy, one number by RMSE."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, root_mean_squared_error

from build.core.choosing import working_on
from build.core.errors import CheckFailed, UsageError
from build.scores.blends import MEAN, NESTED, blend_files
from build.scores.board import board, expect, points_of
from build.scores.command import blend_verb, compare_verb
from build.scores.comparison import Comparison, compare_files, decision
from build.scores.ensemble_file import blended_file
from build.scores.oof_files import read_all, truth_table, validation_of
from build.scores.page import page
from kernel_src.competitions.held_facts import facts
from tests.build.scores.plain import (
    classes,
    leaf_file,
    leaf_train,
    numbers,
    one_hot,
    paws_file,
    paws_train,
    probabilities,
)
from tests.build.scores.test_board import FOUR

TRUE, PAWS = classes(), numbers()
WEAK, STRONG = probabilities(TRUE, 1), probabilities(TRUE, 2, skill=4.0)
NEAR, FAR = (PAWS + np.random.default_rng(seed).normal(0, width, len(PAWS)) for seed, width in ((1, 8), (2, 12)))


def leaf(folder: Path, *models: np.ndarray) -> Comparison:
    files = [leaf_file(folder / f"m{i}.csv", one, np.arange(len(one)) % 5) for i, one in enumerate(models)]
    return compare_files(files, leaf_train(folder, TRUE))


def test_accuracies_are_scikit_learns_and_the_higher_is_better(tmp_path: Path) -> None:
    with working_on("leaf"):
        found = leaf(tmp_path, WEAK, STRONG)
        line, text = decision(found), page(found)
    assert [one.estimate for one in found.models] == [accuracy_score(TRUE, one.argmax(1)) for one in (WEAK, STRONG)]
    assert line.startswith("m1 is better than m0: +0.")
    assert found.floors == {"the mean of all": pytest.approx(0.1)} and found.warnings == ()
    assert "Accuracy, over 240 images." in text and "R²" not in text and "Total" not in text


def test_errors_are_scikit_learns_and_the_lower_is_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [paws_file(tmp_path / "far.csv", FAR), paws_file(tmp_path / "near.csv", NEAR, heading="pred")]
    with working_on("paws"):
        compare_verb(files, paws_train(tmp_path, PAWS))
        shown = capsys.readouterr().out
        compare_verb(files, tmp_path / "train.csv", as_json=True)
    value = json.loads(capsys.readouterr().out)
    errors = [root_mean_squared_error(PAWS, one) for one in (FAR, NEAR)]
    assert value["metric"] == "RMSE" and value["higher_is_better"] is False and value["warnings"] == []
    assert [one["score"] for one in value["models"]] == pytest.approx(errors)
    assert value["pairs"][0]["difference"] == pytest.approx(errors[0] - errors[1]) and value["pairs"][0]["low"] > 0
    assert "near is better than far: +" in shown and "official RMSE, 240 images" in shown
    assert "pairs: RMSE of a minus RMSE of b" in shown and shown.index("near") < shown.index("(the mean of all)")


def test_what_no_probability_of_a_class_is_is_refused(tmp_path: Path) -> None:
    train = leaf_train(tmp_path, TRUE)
    ids = pd.DataFrame({"image_id": [str(1000 + i) for i in range(len(TRUE))]})
    ids.assign(label=TRUE).to_csv(tmp_path / "labels.csv", index=False)
    for made, said in (
        (tmp_path / "labels.csv", "it has labels alone, under 'label': how sure the model is cannot be seen"),
        (leaf_file(tmp_path / "logits.csv", 9 * WEAK - 4), "no probability"),
        (leaf_file(tmp_path / "halves.csv", WEAK / 2), "the classes of image 1000.jpg add up to 0.5"),
        (leaf_file(tmp_path / "truth.csv", one_hot(TRUE)), "every prediction is the truth"),
    ):
        with working_on("leaf"), pytest.raises(CheckFailed) as failed:
            compare_files([str(made)], train)
        assert said in str(failed.value)


def test_a_file_with_the_true_labels_needs_no_train_csv_and_headings_may_be_labels(tmp_path: Path) -> None:
    table = pd.DataFrame(WEAK, columns=[f"prob_{number}" for number in range(10)])
    table.assign(image_id=[str(1000 + i) for i in range(len(TRUE))], label=TRUE).to_csv(tmp_path / "m.csv", index=False)
    with working_on("leaf"):
        found = compare_files([str(tmp_path / "m.csv")], None)
        assert found.models == leaf(tmp_path, WEAK).models


def test_the_constraints_of_another_competition_are_refused(tmp_path: Path) -> None:
    files, train = [paws_file(tmp_path / "a.csv", NEAR), paws_file(tmp_path / "b.csv", FAR)], paws_train(tmp_path, PAWS)
    with working_on("paws"):
        with pytest.raises(UsageError, match="in one way only"):
            compare_verb(files, train, constraints=True)
        with pytest.raises(UsageError, match="--constraint projection: paws has none"):
            blend_verb(files, train, constraint="projection")


# %%
def test_two_models_that_err_apart_are_blended_to_a_lower_error(tmp_path: Path) -> None:
    other = PAWS + np.random.default_rng(7).normal(0, 8, len(PAWS))
    files = [paws_file(tmp_path / "a.csv", NEAR), paws_file(tmp_path / "b.csv", other)]
    with working_on("paws"):
        read = read_all(files)
        result = blend_files(validation_of(read, truth_table(read, paws_train(tmp_path, PAWS))), "none")
    mean = result.comparison.models[1].estimate
    assert result.recommended in (MEAN, NESTED)
    assert mean == pytest.approx(root_mean_squared_error(PAWS, np.clip((NEAR + other) / 2, 1, 100)))
    assert mean < min(root_mean_squared_error(PAWS, one) for one in (NEAR, other))


def test_probabilities_are_blended_and_the_ensemble_goes_to_its_own_competition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from build.scores import ensemble_file

    monkeypatch.setattr(ensemble_file, "ROOT", tmp_path)
    (tmp_path / "kernel_src/competitions/leaf").mkdir(parents=True)
    monkeypatch.setitem(ensemble_file.EXPERIMENTS, "twin", ensemble_file.EXPERIMENTS["leaf"])
    monkeypatch.setitem(ensemble_file.COMPETITION_OF, "twin", "leaf")
    other = probabilities(TRUE, 5)
    files = [f"leaf={leaf_file(tmp_path / 'a.csv', WEAK)}", f"twin={leaf_file(tmp_path / 'b.csv', other)}"]
    with working_on("leaf"):
        blend_verb(files, leaf_train(tmp_path, TRUE), write="both", as_json=True)
        path = tmp_path / blended_file()
        with pytest.raises(UsageError, match="of another competition"):
            blend_verb([files[0], files[1].replace("twin=", "v5=")], tmp_path / "train.csv", write="three")
    value = json.loads(capsys.readouterr().out)
    assert value["models"][1]["score"] == accuracy_score(TRUE, (WEAK + other).argmax(1))
    written: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    exec(path.read_text(), written)  # a literal
    entry = written["BLENDED"]["both"]
    assert sum(entry["shares"].values()) == pytest.approx(1) and entry["stack"] == {}
    assert path == tmp_path / "kernel_src/competitions/leaf/blended_ensembles.py"


# %%
def test_an_expected_error_is_never_below_none_and_others_submissions_are_left_out() -> None:
    rows = [
        replace(one, experiment="paws", cv=cv, public=cv - 0.3)
        for one, cv in zip(FOUR, (0.4, 0.5, 0.6, 0.9), strict=True)
    ]
    with working_on("paws"):
        assert points_of(FOUR) == [] and len(points_of(rows)) == 4
        found = expect(points_of(rows), 0.1)
        assert found is not None and found.estimate == found.low == 0 and found.cut
        assert "cut off at 0, the best there is" in found.words()
        assert board([*FOUR, *rows], [], 0.5).expected is not None
    assert len(points_of([*FOUR, *rows])) == 4 and facts("paws").competition == "paws"
